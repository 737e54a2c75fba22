// compare() says of every row whether the method did its work.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <algorithm>

#include <set>

#include "contract/harness.h"
#include "evals/compare.h"

namespace kvlab {
namespace {

using testing::needed_arguments;
using testing::random_tokens;
using testing::tiny_model;

class StatusTest : public testing::OneThread {};

std::vector<TokenDocument> documents(int count, int tokens) {
  std::vector<TokenDocument> result(count);
  for (int d = 0; d < count; ++d) {
    result[d].index = d;
    result[d].id = fmt::format("doc {}", d);
    result[d].tokens = random_tokens(tokens, 50 + static_cast<uint64_t>(d));
    result[d].scored.assign(tokens, 1);
    result[d].scored[0] = 0;
  }
  return result;
}

// The rows after the baseline and the noise floor.
std::vector<MethodResult> compare_recipes(const std::vector<std::string>& recipes,
                                          const std::vector<TokenDocument>& documents,
                                          CompareOptions options = {}) {
  std::vector<MethodSpec> specs;
  for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, {}));
  Comparison comparison =
      compare(tiny_model(), specs, documents, options, silent_progress(), [](const auto&) {});
  std::vector<MethodResult>& rows = comparison.result.methods;
  // Baselines first: the one that counts, the noise floor, and another for methods that read attention
  // weights.
  const bool by_weights = std::any_of(specs.begin(), specs.end(), [](const MethodSpec& spec) {
    return spec.scorer && spec.scorer->kind == ScorerKind::kWeights;
  });
  const size_t baselines = by_weights ? 3 : 2;
  EXPECT_EQ(rows.size(), baselines + recipes.size());
  for (size_t r = 0; r < baselines; ++r) EXPECT_EQ(rows[r].status, Status::kOk) << rows[r].name;
  return {rows.begin() + static_cast<std::ptrdiff_t>(baselines), rows.end()};
}

MethodResult compare_one(const std::string& recipe, int tokens) {
  return compare_recipes({recipe}, documents(1, tokens)).at(0);
}

TEST_F(StatusTest, OkWhereAMethodWorks) {
  for (const ScorerInfo* scorer : registry_scorers()) {
    if (!scorer->no_budget.empty()) continue;
    const std::string recipe = fmt::format("{}(keep=0.5,every=1{})", scorer->name, needed_arguments(*scorer));
    SCOPED_TRACE(recipe);
    const MethodResult row = compare_one(recipe, 100);
    EXPECT_EQ(row.status, Status::kOk) << row.reason;
    const MethodResult& first = row.seed_results.empty() ? row : row.seed_results[0];
    ASSERT_EQ(first.documents.size(), 1u);
    EXPECT_GT(first.documents[0].kl_sum, 0);
  }
}

TEST_F(StatusTest, InertWhereTheDocumentIsShorterThanTheWindow) {
  const MethodResult row = compare_one("knorm(threshold=0,window=128)", 100);
  EXPECT_EQ(row.status, Status::kInert);
  EXPECT_NE(row.reason, "");
  EXPECT_EQ(compare_one("knorm(threshold=0,window=128)", 140).status, Status::kOk);
  // An eviction after the last scored token's query touches nothing: entry 0 goes at n = 100.
  EXPECT_EQ(compare_one("knorm(threshold=0,window=99)", 100).status, Status::kInert);
}

TEST_F(StatusTest, NeutralWhereTheRecipeCannotEvict) {
  for (const ScorerInfo* scorer : registry_scorers()) {
    if (!scorer->no_budget.empty()) continue;
    const std::string recipe = fmt::format("{}(keep=1{})", scorer->name, needed_arguments(*scorer));
    SCOPED_TRACE(recipe);
    EXPECT_EQ(compare_one(recipe, 60).status, Status::kNeutral);
  }
  EXPECT_EQ(compare_one("h2o(free_density=1)", 60).status, Status::kNeutral);
}

TEST_F(StatusTest, FallbackWhereTheScoresHadNoSay) {
  EXPECT_EQ(compare_one("h2o(size=32,window=32)", 100).status, Status::kFallback);
  EXPECT_EQ(compare_one("knorm(size=36,sinks=4,window=32)", 100).status, Status::kFallback);
  EXPECT_EQ(compare_one("h2o(size=32,window=31)", 100).status, Status::kOk);
  EXPECT_EQ(compare_one("streaming_llm(sinks=4,window=32)", 100).status, Status::kOk)
      << "that is what it is for";
}

TEST_F(StatusTest, RandomRunsOverSeveralSeeds) {
  const auto texts = documents(2, 80);
  const MethodResult row = compare_recipes({"random(keep=0.5)"}, texts).at(0);
  ASSERT_EQ(row.seed_results.size(), 5u);
  std::set<double> losses;
  std::set<int64_t> seeds;
  for (const MethodResult& run : row.seed_results) {
    ASSERT_EQ(run.documents.size(), 2u);
    losses.insert(run.documents[0].nll_sum);
    seeds.insert(run.seed.value());
  }
  EXPECT_THAT(seeds, ::testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(losses.size(), 5u) << "seeds that change nothing";

  EXPECT_EQ(compare_recipes({"random(keep=0.5,seed=7)"}, texts).at(0).seed_results.size(), 0u);
  EXPECT_EQ(compare_recipes({"random(threshold=1)"}, texts).at(0).seed_results.size(), 0u)
      << "nothing is left to chance";
  CompareOptions three;
  three.seeds = 3;
  EXPECT_EQ(compare_recipes({"random(keep=0.5)"}, texts, three).at(0).seed_results.size(), 3u);
}

TEST_F(StatusTest, SkippedWithoutAScorer) {
  const MethodResult row = compare_one("kvzap(threshold=-6)", 40);
  EXPECT_EQ(row.status, Status::kSkipped);
  EXPECT_THAT(row.reason, ::testing::HasSubstr("model="));
}

}  // namespace
}  // namespace kvlab
