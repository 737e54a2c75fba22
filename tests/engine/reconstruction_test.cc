// Scores from repeating the context, against a plain reading of their definition.
#include "engine/reconstruction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/error.h"
#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::cache_options;
using ::testing::HasSubstr;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

class ReconstructionTest : public testing::OneThread {};

constexpr int64_t kContext = 70;

// All that a session's layers see.
struct SeenLayer {
  std::vector<std::vector<float>> q, k, v, hidden;  // by position
};

class Recorder : public LayerTap {
 public:
  bool wants_hidden() const override { return true; }
  void see(const LayerBlock& block) override {
    const ModelShape shape = tiny_shape();
    layers.resize(shape.layers);
    SeenLayer& layer = layers[block.layer];
    const auto row = [](const float* first, int64_t count) {
      return std::vector<float>(first, first + count);
    };
    for (int r = 0; r < block.rows; ++r) {
      layer.q.push_back(row(block.q + r * block.q_stride, shape.query_heads * shape.head_dim));
      layer.k.push_back(row(block.k + r * block.kv_stride, shape.kv_heads * shape.head_dim));
      layer.v.push_back(row(block.v + r * block.kv_stride, shape.kv_heads * shape.head_dim));
      layer.hidden.push_back(row(block.hidden + int64_t{1} * r * shape.hidden, shape.hidden));
    }
  }
  std::vector<SeenLayer> layers;
};

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

// ||W_O v|| of a query head.
double output_norm(const std::vector<float>& v, int layer, int query_head) {
  const ModelShape shape = tiny_shape();
  const std::span<const float> output = tiny_model()->kept_output_projection(layer);
  std::vector<double> sum(static_cast<size_t>(shape.hidden));
  for (int c = 0; c < shape.head_dim; ++c) {
    const double value = v[(query_head / shape.group()) * shape.head_dim + c];
    for (int o = 0; o < shape.hidden; ++o)
      sum[o] += value * output[(query_head * int64_t{1} * shape.head_dim + c) * shape.hidden + o];
  }
  return norm(sum);
}

struct Reference {
  int64_t begin, end, sinks;
  bool normalised;
  ContextScores& scores;
  std::vector<double> output_norms = {};  // of the part's entries under the query head at hand

  void begin_head(const SeenLayer& seen, int layer, int query_head) {
    output_norms.clear();
    for (int64_t p = begin; normalised && p < end; ++p)
      output_norms.push_back(output_norm(seen.v[p], layer, query_head));
  }

  // The weights of the query at `position` over the entries it sees, and what they add to the scores.
  void add_query(const SeenLayer& seen, int layer, int query_head, int64_t position) {
    const ModelShape shape = tiny_shape();
    const int d = shape.head_dim, kv_head = query_head / shape.group();
    std::vector<int64_t> entries;
    for (int64_t p = 0; p < std::min(sinks, begin); ++p) entries.push_back(p);
    for (int64_t p = begin; p < end; ++p) entries.push_back(p);
    for (int64_t p = kContext; p <= position; ++p) entries.push_back(p);
    std::vector<double> weights;
    double sum = 0;
    for (const int64_t p : entries) {
      double dot = 0;
      for (int c = 0; c < d; ++c)
        dot += static_cast<double>(seen.q[position][query_head * d + c]) * seen.k[p][kv_head * d + c];
      weights.push_back(std::exp(dot / std::sqrt(d)));
      sum += weights.back();
    }
    std::vector<float>& own = scores[static_cast<size_t>(layer) * shape.kv_heads + kv_head];
    const std::vector<double> hidden(seen.hidden[position].begin(), seen.hidden[position].end());
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i] < begin || entries[i] >= end) continue;
      double worth = weights[i] / sum;
      if (normalised) worth *= output_norms[entries[i] - begin] / norm(hidden);
      own[entries[i]] = std::max(own[entries[i]], static_cast<float>(worth));
    }
  }
};

// Each part repeated behind its prompt, on a session of its own.
ContextScores expected_scores(const std::vector<int32_t>& context, const Reconstruction& how, int64_t sinks) {
  const ModelShape shape = tiny_shape();
  const auto prompts = testing::random_prompts();
  ContextScores scores(static_cast<size_t>(shape.layers) * shape.kv_heads,
                       std::vector<float>(context.size(), 0.0f));
  for (int64_t begin = 0; begin < kContext; begin += how.chunk) {
    const int64_t end = std::min(kContext, begin + how.chunk);
    std::vector<int32_t> tokens = context;
    const auto add = [&](const auto& more) { tokens.insert(tokens.end(), more.begin(), more.end()); };
    add(begin == 0 ? prompts->first : prompts->later);
    if (begin > 0) add(std::span(context).subspan(begin - how.previous, how.previous));
    add(prompts->suffix);
    add(std::span(context).subspan(begin, end - begin));
    const auto recorder = std::make_shared<Recorder>();
    CacheOptions options;
    options.tap = recorder;
    Session(tiny_model(), method_of("none"), options).extend(tokens);
    Reference reference{begin, end, sinks, how.normalised, scores};
    for (int layer = 0; layer < shape.layers; ++layer) {
      for (int head = 0; head < shape.query_heads; ++head) {
        reference.begin_head(recorder->layers[layer], layer, head);
        for (auto p = kContext; p < static_cast<int64_t>(tokens.size()); ++p)
          reference.add_query(recorder->layers[layer], layer, head, p);
      }
    }
  }
  return scores;
}

void expect_close(const ContextScores& got, const ContextScores& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t h = 0; h < got.size(); ++h) {
    ASSERT_EQ(got[h].size(), expected[h].size());
    for (size_t p = 0; p < got[h].size(); ++p)
      EXPECT_NEAR(got[h][p], expected[h][p], 1e-4 * expected[h][p]) << "head " << h << ", entry " << p;
  }
}

TEST_F(ReconstructionTest, IsTheMostAttentionOfTheRepeatedTokens) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> context = random_tokens(kContext, 31);
  for (const std::string recipe : {"kvzip(keep=0.5)", "kvzip(keep=0.5,chunk=32,previous=5)",
                                   "kvzip(keep=0.5,plus=yes,chunk=32,sinks=2)", "kvzip(keep=0.5,plus=yes)"}) {
    SCOPED_TRACE(recipe);
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(context);
    const auto how = reconstruction_of(session.cache());
    ASSERT_TRUE(how);
    const ReconstructedScores found = reconstruct_scores(session, context, *how);
    expect_close(found.scores, expected_scores(context, *how, session.cache().method().spec.policy.sinks));
  }
}

TEST_F(ReconstructionTest, LeavesTheSessionAsItWas) {
  const std::vector<int32_t> context = random_tokens(kContext, 32), rest = random_tokens(20, 33);
  Session session(tiny_model(), method_of("kvzip(keep=0.5)"), cache_options());
  session.extend(context);
  const auto live = testing::live_entries(session.cache());
  const ReconstructedScores found = reconstruct_scores(session, context, *reconstruction_of(session.cache()));
  EXPECT_EQ(session.tokens(), kContext);
  EXPECT_EQ(testing::live_entries(session.cache()), live);
  EXPECT_GT(found.peak_bytes, session.cache().peak_bytes());
  Session dense(tiny_model(), method_of("none"), cache_options());
  dense.extend(context);
  const HiddenStates own = session.extend(rest), base = dense.extend(rest);
  for (int64_t i = 0; i < own.rows * own.size; ++i) EXPECT_EQ(own.values.data()[i], base.values.data()[i]);
}

// What stays is what scores highest; what it took meanwhile counts for the peak.
TEST_F(ReconstructionTest, TheModelsBestStay) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> context = random_tokens(kContext, 34);
  Session session(tiny_model(), method_of("kvzip(keep=0.3,chunk=32)"), cache_options());
  session.extend(context);
  const ReconstructedScores found = reconstruct_scores(session, context, *reconstruction_of(session.cache()));
  session.end_context();
  const auto live = testing::live_entries(session.cache());
  float least_kept = 1e30f, most_gone = 0;
  size_t total = 0;
  for (size_t h = 0; h < live.size(); ++h) {
    total += live[h].size();
    std::vector<bool> stays(kContext);
    for (const int32_t p : live[h]) stays[p] = true;
    for (int64_t p = 4; p < kContext; ++p) {
      if (stays[p]) least_kept = std::min(least_kept, found.scores[h][p]);
      if (!stays[p]) most_gone = std::max(most_gone, found.scores[h][p]);
    }
    for (int64_t p = 0; p < 4; ++p) EXPECT_TRUE(stays[p]) << "a sink";
  }
  EXPECT_GE(least_kept, most_gone);
  EXPECT_EQ(total, 21 * live.size());
  EXPECT_GE(session.cache().peak_bytes(), found.peak_bytes);
}

// Entries of each KV head after 120 tokens of which a quarter stays, and the share of the payload that they
// are.
struct Kept {
  std::vector<size_t> entries;
  double payload = 0;
};

Kept kept_under(const std::string& recipe) {
  Session session(tiny_model(), method_of(recipe), cache_options());
  session.extend(random_tokens(120, 36));
  session.end_context();
  Kept kept;
  for (const auto& positions : testing::live_entries(session.cache()))
    kept.entries.push_back(positions.size());
  kept.payload = static_cast<double>(session.cache().bytes().payload) /
                 static_cast<double>(dense_cache_bytes(tiny_shape(), 120, DType::kF32));
  return kept;
}

TEST_F(ReconstructionTest, TheScopeSaysWhatSharesABudget) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const auto heads = static_cast<size_t>(tiny_shape().kv_heads);
  const Kept model = kept_under("kvzip(keep=0.25)"), layer = kept_under("kvzip(keep=0.25,scope=layer)"),
             head = kept_under("kvzip(keep=0.25,scope=head)");
  for (const Kept* kept : {&model, &layer, &head}) EXPECT_NEAR(kept->payload, 0.25, 0.0025);
  const auto of_layer = [&](const Kept& kept, size_t l) {
    size_t sum = 0;
    for (size_t h = 0; h < heads; ++h) sum += kept.entries[l * heads + h];
    return sum;
  };
  bool uneven = false;
  for (size_t l = 0; l * heads < head.entries.size(); ++l) {
    EXPECT_EQ(of_layer(layer, l), 30 * heads);
    uneven = uneven || of_layer(model, l) != 30 * heads;
    for (size_t h = 0; h < heads; ++h) EXPECT_EQ(head.entries[l * heads + h], 30u);
  }
  EXPECT_TRUE(uneven) << "layers that share a budget do not all get as much";
  EXPECT_NE(layer.entries, head.entries);
}

TEST_F(ReconstructionTest, RefusesWhatAWholeContextCannotDo) {
  for (const std::string recipe : {"kvzip(threshold=0.1)", "kvzip(keep=0.5,every=8)", "kvzip(plus=maybe)",
                                   "two_phase(context=none,decode=kvzip(keep=0.5))", "rerotate(of=kvzip)"})
    EXPECT_THROW(method_of(recipe), UserError) << recipe;
}

TEST_F(ReconstructionTest, CutsOfTheContextChangeNothing) {
  const std::vector<int32_t> context = random_tokens(kContext, 35);
  Session whole(tiny_model(), method_of("kvzip(keep=0.3,chunk=32)"), cache_options());
  whole.extend(context);
  Session cut(tiny_model(), method_of("kvzip(keep=0.3,chunk=32)"), cache_options());
  cut.extend(std::span(context).first(11));
  Session fork = cut.fork();
  fork.extend(std::span(context).subspan(11));
  whole.end_context();
  fork.end_context();
  EXPECT_EQ(testing::live_entries(whole.cache()), testing::live_entries(fork.cache()));
}

std::string refusal_of(const std::shared_ptr<const ReconstructionPrompts>& prompts,
                       const std::string& recipe) {
  CacheOptions options;
  options.prompts = prompts;
  try {
    Session(tiny_model(), method_of(recipe), options);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST_F(ReconstructionTest, NeedsPrompts) {
  ReconstructionPrompts none;
  none.problem = "the tokenizer is missing";
  EXPECT_THAT(refusal_of(nullptr, "kvzip(keep=0.5)"), HasSubstr("behind a prompt"));
  EXPECT_THAT(refusal_of(std::make_shared<const ReconstructionPrompts>(none), "kvzip(keep=0.5)"),
              HasSubstr("the tokenizer is missing"));
  EXPECT_THAT(refusal_of(nullptr, "two_phase(context=kvzip(keep=0.5),decode=h2o(size=64))"),
              HasSubstr("behind a prompt"));
  EXPECT_EQ(refusal_of(nullptr, "kvzip(keep=1)"), "") << "what evicts nothing repeats nothing";
  EXPECT_EQ(refusal_of(nullptr, "snapkv(keep=0.5,at=context)"), "");
}

// Ids are bytes; one token is special.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(std::string chat) : chat_(std::move(chat)) {}
  std::vector<int32_t> encode(std::string_view text, bool) const override {
    return {text.begin(), text.end()};
  }
  std::vector<int32_t> encode_parts(std::span<const TextPart>) const override { return {}; }
  std::string decode(const std::vector<int32_t>& ids, bool) const override {
    return {ids.begin(), ids.end()};
  }
  int vocab_size() const override { return 256; }
  int bos() const override { return -1; }
  int eos() const override { return -1; }
  bool add_bos() const override { return false; }
  const std::string& chat_template() const override { return chat_; }
  std::string description() const override { return "bytes"; }

 private:
  std::string chat_;
};

std::string text_of(const std::vector<int32_t>& ids) {
  return {ids.begin(), ids.end()};
}

TEST_F(ReconstructionTest, PromptsEndAsTheChatTemplateDoes) {
  const ReconstructionPrompts plain = reconstruction_prompts(ByteTokenizer(""));
  EXPECT_EQ(plain.problem, "");
  EXPECT_EQ(text_of(plain.first), "\n\nRepeat the previous context exactly.");
  EXPECT_EQ(text_of(plain.later), "\n\nRepeat the part of the previous context exactly, starting with");
  EXPECT_EQ(text_of(plain.suffix), "\n");
  const ReconstructionPrompts chat = reconstruction_prompts(ByteTokenizer(
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
      "'<|im_end|>' "
      "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"));
  EXPECT_EQ(chat.problem, "");
  EXPECT_EQ(text_of(chat.suffix), "<|im_end|>\n<|im_start|>assistant\n");
  const ReconstructionPrompts unknown =
      reconstruction_prompts(ByteTokenizer("{{ 'a template of no family' }}"));
  EXPECT_THAT(unknown.problem, HasSubstr("no known family"));
}

}  // namespace
}  // namespace kvlab
