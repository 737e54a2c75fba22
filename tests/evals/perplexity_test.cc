// Perplexity rows against sessions of their own, the comparison, and plain sums.
#include "evals/perplexity.h"

#include <gmock/gmock.h>

#include "base/progress.h"
#include "contract/harness.h"
#include "evals/compare.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;

class PerplexityTest : public testing::OneThread {};

TokenDocument random_document(int tokens, uint64_t seed) {
  TokenDocument document;
  document.index = 0;
  document.id = "doc";
  document.tokens = random_tokens(tokens, seed);
  document.scored.assign(tokens, 1);
  document.scored[0] = 0;
  return document;
}

WindowOptions chunks_of(int64_t max_length) {
  WindowOptions options;
  options.protocol = WindowProtocol::kChunks;
  options.max_length = max_length;
  return options;
}

std::vector<SweepMethod> sweep(const std::vector<std::string>& recipes, bool prefill_only = false,
                               const std::vector<double>& ratios = {0.5}) {
  SweepOptions options;
  options.ratios = ratios;
  options.prefill_only = prefill_only;
  return sweep_ratios(recipes, options);
}

PerplexityResult measure(const std::vector<SweepMethod>& methods, const std::vector<TokenDocument>& documents,
                         const WindowOptions& windows, bool repeat = false) {
  PerplexityOptions options;
  options.run.protocol = session_protocol(windows);
  options.repeat_baseline = repeat;
  options.setup_seconds = 100;
  return measure_perplexity(tiny_model(), methods, make_windows(documents, windows), options,
                            silent_progress(), [](const PerplexityRow&) {});
}

double nll_sum(const PerplexityRow& row) {
  double sum = 0;
  for (const DocumentResult& window : row.result.documents) sum += window.nll_sum;
  return sum;
}

int64_t total(const PerplexityRow& row, int64_t DocumentResult::*count) {
  int64_t sum = 0;
  for (const DocumentResult& window : row.result.documents) sum += window.*count;
  return sum;
}

// The loss of every token of a piece of text but the first, in a session of its own.
std::vector<float> own_session(const std::string& recipe, std::span<const int32_t> tokens) {
  Session session(tiny_model(), method_of(recipe), cache_options());
  return token_losses(*tiny_model(), session.extend(tokens), tokens.subspan(1));
}

TEST_F(PerplexityTest, ChunksEqualSessionsOfTheirOwn) {
  const TokenDocument text = random_document(100, 1);
  const PerplexityResult result = measure(sweep({"knorm(keep=0.5,sinks=0,window=4)"}), {text}, chunks_of(32));
  ASSERT_EQ(result.rows.size(), 2u);
  for (const PerplexityRow& row : result.rows) {
    ASSERT_EQ(row.result.documents.size(), 3u);
    for (size_t w = 0; w < 3; ++w) {
      double sum = 0;
      for (const float nll : own_session(row.result.recipe, std::span(text.tokens).subspan(32 * w, 32)))
        sum += nll;
      EXPECT_EQ(row.result.documents[w].nll_sum, sum) << row.result.recipe << " " << w;
      EXPECT_EQ(row.result.documents[w].tokens_scored, 31);
    }
  }
  EXPECT_NE(nll_sum(result.rows[0]), nll_sum(result.rows[1]));
}

TEST_F(PerplexityTest, StrideScoresTheLastLabelsOfEachSession) {
  const TokenDocument text = random_document(70, 2);
  WindowOptions options = chunks_of(32);
  options.protocol = WindowProtocol::kStride;
  options.stride = 16;
  const PerplexityResult result = measure({}, {text}, options);
  double sum = 0;
  int64_t scored = 0, until = 0;
  for (int64_t first = 0; until < 70; first += 16) {
    const int64_t end = std::min<int64_t>(70, first + 32);
    const auto nll = own_session("none", std::span(text.tokens).subspan(first, end - first));
    for (int64_t p = std::max(until, first + 1); p < end; ++p, ++scored) sum += nll[p - first - 1];
    until = end;
  }
  EXPECT_EQ(total(result.rows[0], &DocumentResult::tokens_scored), scored);
  EXPECT_EQ(scored, 69);
  EXPECT_NEAR(nll_sum(result.rows[0]), sum, 1e-9);
}

TEST_F(PerplexityTest, StreamAndPrefixEqualTheComparison) {
  const std::vector<std::string> recipes = {"knorm(keep=0.5,window=4)", "streaming_llm(size=20,window=8)"};
  const TokenDocument document = random_document(90, 3);
  for (const int64_t context : {0, 40}) {
    WindowOptions windows;
    windows.protocol = context ? WindowProtocol::kPrefix : WindowProtocol::kStream;
    windows.context = context;
    const PerplexityResult own = measure(sweep(recipes), {document}, windows);
    CompareOptions options;
    options.run.protocol = session_protocol(windows);
    std::vector<MethodSpec> specs;
    for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, {}));
    const auto compared =
        compare(tiny_model(), specs, {document}, options, silent_progress(), [](const auto&) {});
    ASSERT_EQ(compared.result.methods.size(), own.rows.size() + 1);  // its noise floor
    for (size_t r = 0; r < own.rows.size(); ++r) {
      const DocumentResult& mine = own.rows[r].result.documents[0];
      const DocumentResult& theirs = compared.result.methods[r ? r + 1 : 0].documents[0];
      EXPECT_EQ(mine.nll_sum, theirs.nll_sum);
      EXPECT_NEAR(mine.delta_nll_sum, theirs.delta_nll_sum, 1e-12);
      EXPECT_EQ(mine.tokens_scored, theirs.tokens_scored);
      EXPECT_EQ(mine.tokens_touched, theirs.tokens_touched);
      EXPECT_EQ(mine.kv_bytes, theirs.kv_bytes);
    }
  }
}

TEST_F(PerplexityTest, TheBaselineTwiceIsEqualToTheLastBit) {
  const PerplexityResult result = measure({}, {random_document(100, 4)}, chunks_of(32), true);
  ASSERT_EQ(result.rows.size(), 2u);
  EXPECT_FALSE(result.rows[0].equal_to_baseline.has_value());
  EXPECT_EQ(result.rows[1].equal_to_baseline, std::optional<bool>(true));
  EXPECT_EQ(nll_sum(result.rows[0]), nll_sum(result.rows[1]));
}

TEST_F(PerplexityTest, CountsTheTouchedTokensOfEveryWindow) {
  const PerplexityResult result =
      measure(sweep({"streaming_llm(sinks=2,window=6)"}), {random_document(96, 5)}, chunks_of(32));
  const PerplexityRow& row = result.rows[1];
  // 8 entries stay; query 8, with 9 entries, is still whole: eviction is after its token. Queries 8 ... 30 of
  // each window have lost one before they come.
  EXPECT_EQ(row.result.status, Status::kOk);
  for (const DocumentResult& window : row.result.documents) {
    int64_t touched = 0;
    for (int64_t query = 0; query < 31; ++query) touched += query > 8;
    EXPECT_EQ(window.tokens_touched, touched);
  }
  EXPECT_EQ(total(result.rows[0], &DocumentResult::tokens_touched), 0);
}

// The trap: one scored prefill, compressed after it, gives the baseline.
TEST_F(PerplexityTest, CompressingAfterTheScoredPrefillIsInert) {
  const TokenDocument document = random_document(96, 6);
  const PerplexityResult chunks = measure(sweep({"knorm"}, true), {document}, chunks_of(32));
  EXPECT_EQ(chunks.rows[1].result.status, Status::kInert);
  EXPECT_EQ(nll_sum(chunks.rows[1]), nll_sum(chunks.rows[0]));
  EXPECT_TRUE(perplexity_row_json(chunks.rows[1]).at("delta_ppl_percent").is_null());
  EXPECT_FALSE(chunks.rows[1].result.notes.empty());

  WindowOptions prefix;
  prefix.protocol = WindowProtocol::kPrefix;
  prefix.context = 64;
  const PerplexityResult acted = measure(sweep({"knorm"}, true), {document}, prefix);
  EXPECT_EQ(acted.rows[1].result.status, Status::kOk);
  EXPECT_EQ(total(acted.rows[1], &DocumentResult::tokens_scored), 32);
  EXPECT_GT(total(acted.rows[1], &DocumentResult::tokens_touched), 0);
  EXPECT_NE(nll_sum(acted.rows[1]), nll_sum(acted.rows[0]));
}

TEST_F(PerplexityTest, ABudgetLargerThanTheWindowIsInertAndARatioOfZeroNeutral) {
  const PerplexityResult result =
      measure(sweep({"knorm(size=200)", "knorm"}, false, {0}), {random_document(96, 7)}, chunks_of(32));
  EXPECT_EQ(result.rows[1].result.status, Status::kInert);
  EXPECT_EQ(result.rows[2].result.status, Status::kNeutral);
  EXPECT_EQ(result.rows[2].ratio, std::optional<double>(0));
}

TEST_F(PerplexityTest, LossesByPositionAreSumsOverBuckets) {
  const TokenDocument text = random_document(64, 8);
  const PerplexityRow row = measure({}, {text}, chunks_of(32)).rows[0];
  ASSERT_EQ(row.buckets.size(), 5u);
  for (size_t b = 0; b < 5; ++b) {
    double sum = 0;
    int64_t count = 0;
    for (int window = 0; window < 2; ++window) {
      const auto nll = own_session("none", std::span(text.tokens).subspan(32 * window, 32));
      for (int64_t p = int64_t{1} << b; p < int64_t{2} << b && p < 32; ++p, ++count) sum += nll[p - 1];
    }
    EXPECT_EQ(row.buckets[b].from, int64_t{1} << b);
    EXPECT_EQ(row.buckets[b].to, (int64_t{2} << b) - 1);
    EXPECT_EQ(row.buckets[b].count, count);
    EXPECT_NEAR(row.buckets[b].nll_sum, sum, 1e-9);
  }
  WindowOptions prefix;
  prefix.protocol = WindowProtocol::kPrefix;
  prefix.context = 60;
  const PerplexityRow after = measure({}, {text}, prefix).rows[0];
  ASSERT_EQ(after.buckets.size(), 3u);  // distances 1, 2..3, 4
  EXPECT_EQ(after.buckets[0].count, 1);
  EXPECT_EQ(after.buckets[1].count, 2);
  EXPECT_EQ(after.buckets[2].count, 1);
}

TEST_F(PerplexityTest, PrefillIsPartOfTheRuntimeAndLoadingOfTheTotal) {
  const PerplexityRow row = measure({}, {random_document(64, 9)}, chunks_of(32)).rows[0];
  EXPECT_GT(prefill_seconds(row), 0);
  EXPECT_LE(prefill_seconds(row), runtime_seconds(row));
  const auto json = perplexity_row_json(row);
  EXPECT_DOUBLE_EQ(json.at("total_runtime_sec").get<double>(), 100 + runtime_seconds(row));
}

TEST_F(PerplexityTest, SweepsMethodsWithoutABudgetOnly) {
  const auto methods =
      sweep({"knorm", "h2o(size=64,window=8)", "no_press", "knorm(keep=0.75)"}, false, {0.25, 0.5, 0.9});
  ASSERT_EQ(methods.size(), 4u);  // knorm(keep=0.75) is knorm at 0.25
  EXPECT_EQ(methods[0].ratio, std::optional<double>(0.25));
  EXPECT_EQ(methods[2].ratio, std::optional<double>(0.9));
  EXPECT_EQ(methods[3].written, "h2o(size=64,window=8)");
  EXPECT_FALSE(methods[3].ratio.has_value());
  const auto once = sweep({"knorm", "knorm(every=8)"}, true);
  EXPECT_TRUE(once[0].spec.policy.at_context);
  EXPECT_FALSE(once[1].spec.policy.at_context);
}

TEST_F(PerplexityTest, SweepsTwoPhases) {
  const auto methods = sweep({"two_phase(context=knorm,decode=h2o)", "two_phase(context=knorm,decode=none)",
                              "two_phase(context=knorm(keep=0.25),decode=h2o(keep=0.5))"},
                             true, {0.25, 0.5});
  ASSERT_EQ(methods.size(), 5u);
  EXPECT_EQ(methods[0].ratio, std::optional<double>(0.25));
  EXPECT_EQ(methods[1].ratio, std::optional<double>(0.5));
  EXPECT_TRUE(methods[0].spec.context) << "a schedule of its own";
  EXPECT_TRUE(methods[2].spec.policy.at_context);
  EXPECT_FALSE(methods[4].ratio.has_value()) << "two ratios are none";

  WindowOptions prefix;
  prefix.protocol = WindowProtocol::kPrefix;
  prefix.context = 40;
  const std::vector<TokenDocument> text = {random_document(70, 12)};
  const PerplexityRow acted = measure({methods[0]}, text, prefix).rows.at(1);
  EXPECT_EQ(acted.result.status, Status::kOk);
  EXPECT_EQ(acted.result.every, 1);
  const PerplexityRow without = measure({methods[0]}, text, chunks_of(32)).rows.at(1);
  EXPECT_EQ(without.result.status, Status::kInert);
  EXPECT_EQ(without.result.notes, measure({methods[2]}, text, chunks_of(32)).rows.at(1).result.notes);
}

TEST_F(PerplexityTest, SkipsLearnedScorersWithoutAModel) {
  const PerplexityResult result = measure(sweep({"kvzap"}), {random_document(64, 10)}, chunks_of(32));
  EXPECT_EQ(result.rows[1].result.status, Status::kSkipped);
  EXPECT_TRUE(perplexity_row_json(result.rows[1]).at("ppl").is_null());
}

TEST_F(PerplexityTest, AnInterruptKeepsFinishedRows) {
  PerplexityOptions options;
  const auto windows = make_windows({random_document(64, 11)}, chunks_of(32));
  const PerplexityResult result = measure_perplexity(tiny_model(), sweep({"knorm", "tova"}), windows, options,
                                                     silent_progress(), [](const PerplexityRow& row) {
                                                       if (row.method == "knorm") request_stop();
                                                     });
  clear_stop();
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.rows.size(), 2u);
}

}  // namespace
}  // namespace kvlab
