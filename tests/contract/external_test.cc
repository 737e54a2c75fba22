// What is brought from outside: a dump's numbers, handed back as scores or as evictions, give the run that
// they came from; uneven budgets hold in every head.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "contract/harness.h"
#include "evals/dump.h"
#include "kernels/elementwise.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

constexpr int kTokens = 120;

TokenDocument document(int64_t index = 0) {
  TokenDocument result;
  result.index = index;
  result.id = "text";
  result.tokens = random_tokens(kTokens, 71);
  result.scored.assign(kTokens, 1);
  result.scored[0] = 0;
  return result;
}

class ExternalTest : public testing::OneThread {
 protected:
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  DocumentRun dump(const std::string& recipe, const RunOptions& run, const std::string& name,
                   const std::string& parts) const {
    DumpOptions options;
    options.run = run;
    choose_dump_parts(parts, options);
    return dump_document(tiny_model(), method_of(recipe), document(), options, path(name), {},
                         silent_progress());
  }

  DocumentRun rerun(const std::string& recipe, RunOptions run, int64_t index = 0) const {
    run.record_lifetimes = true;
    return run_document(tiny_model(), method_of(recipe), document(index), run);
  }

  // -||k|| of the keys that a dump holds, under the given tensor name.
  std::string norms(const std::string& dumped, const std::string& tensor) const {
    const auto file = open_safetensors(path(dumped));
    const ModelShape shape = tiny_shape();
    NamedTensor scores{tensor, {shape.layers, shape.kv_heads, kTokens}, {}};
    for (int layer = 0; layer < shape.layers; ++layer) {
      const auto k = file->read(fmt::format("layers.{}.k", layer), {kTokens, shape.kv_heads, shape.head_dim});
      for (int head = 0; head < shape.kv_heads; ++head) {
        for (int t = 0; t < kTokens; ++t) {
          // knorm's own arithmetic: equal tokens have keys whose lengths differ by rounding only.
          scores.values.push_back(
              -l2_norm(k.data() + (t * shape.kv_heads + head) * shape.head_dim, shape.head_dim));
        }
      }
    }
    write_safetensors(path(tensor + ".safetensors"), {scores});
    return path(tensor + ".safetensors");
  }

  // What is said when 120 tokens run with these evictions.
  std::string refusal(const std::vector<NamedTensor>& tensors,
                      const std::string& parameter = "evict_at") const {
    write_safetensors(path("x.safetensors"), tensors);
    return error_text([&] { rerun("external(" + parameter + "=\"" + path("x.safetensors") + "\")", {}); });
  }
  std::vector<float> never() const {
    return std::vector<float>(static_cast<size_t>(tiny_shape().layers) * tiny_shape().kv_heads * kTokens,
                              -1.0f);
  }
  std::vector<int64_t> whole() const { return {tiny_shape().layers, tiny_shape().kv_heads, kTokens}; }
  TempFolder folder_;
};

// Keys of the first layer do not depend on what was evicted, those of the others do: a dump of the very
// recipe has the keys that the recipe saw.
TEST_F(ExternalTest, KnormFromItsKeysIsKnorm) {
  for (const std::string budget : {"keep=0.5", "size=24", "free_density=0.3,window=8",
                                   "keep=0.3,every=7,sinks=2", "threshold=-4,window=8"}) {
    SCOPED_TRACE(budget);
    const DocumentRun own = dump("knorm(" + budget + ")", {}, "k.safetensors", "k,keep");
    const std::string scores = norms("k.safetensors", "scores");
    const DocumentRun again = rerun("external(scores=\"" + scores + "\"," + budget + ")", {});
    EXPECT_EQ(again.nll, own.nll);
    EXPECT_EQ(again.lifetimes.evict_at, own.lifetimes.evict_at);
    EXPECT_EQ(again.result.kv_bytes, own.result.kv_bytes);
    EXPECT_GT(own.result.evictions, 0);
  }
}

TEST_F(ExternalTest, ScoresAtTheEndOfAContext) {
  RunOptions options;
  options.protocol = {Protocol::Kind::kPrefix, 70};
  const DocumentRun own = dump("knorm(keep=0.5,at=context)", options, "k.safetensors", "k,keep");
  const std::string scores = norms("k.safetensors", "scores");
  const DocumentRun again = rerun("external(scores=\"" + scores + "\",keep=0.5,at=context)", options);
  EXPECT_EQ(again.nll, own.nll);
  EXPECT_EQ(again.lifetimes.evict_at, own.lifetimes.evict_at);
}

TEST_F(ExternalTest, DumpedScoresAreTheScorers) {
  const DocumentRun own = dump("knorm(keep=0.4)", {}, "s.safetensors", "scores,keep");
  const DocumentRun again = rerun("external(scores=\"" + path("s.safetensors") + "\",keep=0.4)", {});
  EXPECT_EQ(again.nll, own.nll);
  EXPECT_EQ(again.lifetimes.evict_at, own.lifetimes.evict_at);
}

TEST_F(ExternalTest, EvictionsImposedAgain) {
  RunOptions prefix;
  prefix.protocol = {Protocol::Kind::kPrefix, 70};
  const std::vector<std::pair<std::string, RunOptions>> runs = {
      {"h2o(keep=0.4)", {}},   {"snapkv(keep=0.5,every=16)", {}}, {"tova(size=30)", {}},
      {"knorm(keep=0.5)", {}}, {"oracle(keep=0.5)", {}},          {"tova(keep=0.3,at=context)", prefix}};
  for (const auto& [recipe, options] : runs) {
    SCOPED_TRACE(recipe);
    const DocumentRun own = dump(recipe, options, "e.safetensors", "keep");
    for (const int64_t extend_size : {0, 11}) {
      RunOptions cut = options;
      cut.extend_size = extend_size;
      const DocumentRun again = rerun("external(evict_at=\"" + path("e.safetensors") + "\")", cut);
      EXPECT_EQ(again.lifetimes.evict_at, own.lifetimes.evict_at);
      EXPECT_EQ(again.live, own.live);
      EXPECT_EQ(again.result.evictions, own.result.evictions);
      ASSERT_EQ(again.nll.size(), own.nll.size());
      // The same entries in another kernel, which rounds differently.
      for (size_t i = 0; i < own.nll.size(); ++i) EXPECT_NEAR(again.nll[i], own.nll[i], 2e-4);
    }
  }
}

TEST_F(ExternalTest, EachDocumentHasItsOwn) {
  const DocumentRun own = dump("knorm(keep=0.5)", {}, "k.safetensors", "k,keep");
  const std::string recipe = "external(scores=\"" + norms("k.safetensors", "scores.3") + "\",keep=0.5)";
  EXPECT_EQ(rerun(recipe, {}, 3).nll, own.nll);
  EXPECT_THAT(error_text([&] { rerun(recipe, {}, 0); }),
              AllOf(HasSubstr("scores.3.safetensors"), HasSubstr("no tensor 'scores.0'")));
}

TEST_F(ExternalTest, NeitherFileIsAMistake) {
  EXPECT_THAT(
      error_text([] { method_of("external(keep=0.5)"); }),
      AllOf(HasSubstr("external(scores=F.safetensors)"), HasSubstr("external(evict_at=F.safetensors)")));
  EXPECT_THAT(error_text([] { method_of("external(scores=no_such.safetensors)"); }),
              HasSubstr("no_such.safetensors"));
}

TEST_F(ExternalTest, DamagedScores) {
  std::vector<float> scores = never();
  EXPECT_EQ(refusal({{"scores", whole(), scores}}, "scores"), "");
  EXPECT_THAT(refusal({{"scores", {120, 2}, std::vector<float>(240)}}, "scores"),
              HasSubstr("has shape [120, 2]"));
  EXPECT_THAT(refusal({{"scores", {3, 2, 119}, std::vector<float>(714)}}, "scores"),
              AllOf(HasSubstr("'scores' has 119 tokens"), HasSubstr("at least 120")));
  EXPECT_THAT(refusal({{"score", whole(), scores}}, "scores"), HasSubstr("no tensor 'scores'"));
  scores[120 * 3 + 17] = NAN;
  EXPECT_THAT(refusal({{"scores", whole(), scores}}, "scores"),
              HasSubstr("tensor 'scores', layer 1, head 1, token 17 is NaN"));
}

TEST_F(ExternalTest, DamagedEvictions) {
  std::vector<float> evict_at = never();
  EXPECT_EQ(refusal({{"evict_at", whole(), evict_at}}), "");
  evict_at[120 * 2 + 5] = 6;
  evict_at[120 * 2 + 7] = 4000;  // behind the end: never
  EXPECT_EQ(refusal({{"evict_at", whole(), evict_at}}), "");
  EXPECT_THAT(refusal({{"evict", whole(), evict_at}}), HasSubstr("no tensor 'evict_at'"));
  EXPECT_THAT(refusal({{"evict_at", {3, 3, 120}, std::vector<float>(1080, -1)}}),
              HasSubstr("has shape [3, 3, 120]"));
  EXPECT_THAT(refusal({{"evict_at", {100}, std::vector<float>(100, -1)}}),
              AllOf(HasSubstr("has 100 tokens"), HasSubstr("120")));
  for (const auto& [value, said] :
       std::vector<std::pair<float, std::string>>{{5, "is 5 (expected more than the token's place"},
                                                  {0, "is 0 (expected more"},
                                                  {-2, "is -2 (expected more"},
                                                  {6.5f, "is 6.500000 (expected an integer"},
                                                  {NAN, "is nan (expected an integer"}}) {
    evict_at[120 * 2 + 5] = value;
    EXPECT_THAT(refusal({{"evict_at", whole(), evict_at}}),
                AllOf(HasSubstr("x.safetensors"), HasSubstr("layer 1, head 0, token 5 " + said)));
  }
}

TEST_F(ExternalTest, ASessionAloneCannotReadAhead) {
  write_safetensors(path("x.safetensors"), {{"evict_at", whole(), never()}});
  EXPECT_THROW(Session(tiny_model(), method_of("external(evict_at=\"" + path("x.safetensors") + "\")"), {}),
               UserError);
}

// Head by head, in every kind of method, what is live is what the table says; and the memory follows.
TEST_F(ExternalTest, UnevenBudgetsFreeMemory) {
  const std::string table = folder_.write("b.json", R"({"size": [[12, 40], [40, 12], [20, 20]]})").string();
  const std::vector<size_t> sizes = {12, 40, 40, 12, 20, 20};
  const int64_t even = rerun("knorm(size=40,window=4)", {}).result.kv_bytes;
  for (const std::string scorer : {"knorm", "random", "h2o", "observed_attention", "snapkv", "oracle"}) {
    SCOPED_TRACE(scorer);
    const std::string every = scorer == "snapkv" ? ",every=8" : "";
    const DocumentRun run = rerun(scorer + "(budget=\"" + table + "\",window=4,sinks=0" + every + ")", {});
    size_t head = 0;
    for (const auto& layer : run.live) {
      for (const auto& positions : layer) EXPECT_EQ(positions.size(), sizes[head++]);
    }
    EXPECT_EQ(run.result.breakdown.payload, int64_t{144} * 2 * 16 * 4);
    if (scorer == "knorm") {
      EXPECT_LT(run.result.kv_bytes, even * 7 / 10);
    }
  }
  const std::string by_layer = folder_.write("l.json", R"({"size": [12, 40, 20]})").string();
  const DocumentRun run = rerun("tova(budget=\"" + by_layer + "\")", {});
  for (int layer = 0; layer < 3; ++layer) {
    for (const auto& positions : run.live[layer])
      EXPECT_EQ(positions.size(), layer == 0 ? 12u : layer == 1 ? 40u : 20u);
  }
}

TEST_F(ExternalTest, UnevenBudgetsAtTheEndOfAContext) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::string table =
      folder_.write("b.json", R"({"keep": [[0.5, 0.25], [0.25, 0.5], [1, 0.1]]})").string();
  RunOptions options;
  options.protocol = {Protocol::Kind::kPrefix, 80};
  const std::vector<size_t> gone = {40, 60, 60, 40, 0, 72};
  for (const std::string scorer : {"knorm", "h2o", "snapkv", "oracle"}) {
    SCOPED_TRACE(scorer);
    const DocumentRun run = rerun(scorer + "(budget=\"" + table + "\",at=context)", options);
    size_t head = 0;
    for (const auto& layer : run.live) {
      for (const auto& positions : layer) EXPECT_EQ(positions.size(), kTokens - gone[head++]);
    }
  }
}

}  // namespace
}  // namespace kvlab
