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
  const bool by_weights = std::any_of(specs.begin(), specs.end(),
                                      [](const MethodSpec& spec) { return spec.uses(ScorerKind::kWeights); });
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
    if (!scorer->no_budget.empty() || scorer->kind == ScorerKind::kContext) continue;
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

TEST_F(StatusTest, TwoPhases) {
  const std::string recipe = "two_phase(context=knorm(keep=0.5),decode=h2o(size=24,window=8))";
  const MethodResult streamed = compare_one(recipe, 80);
  EXPECT_EQ(streamed.status, Status::kSkipped);
  EXPECT_EQ(streamed.reason, compare_one("knorm(keep=0.5,at=context)", 80).reason);
  CompareOptions prefix;
  prefix.run.protocol = {Protocol::Kind::kPrefix, 50};
  const auto status = [&](const std::string& text) {
    return compare_recipes({text}, documents(1, 80), prefix).at(0).status;
  };
  EXPECT_EQ(status(recipe), Status::kOk);
  EXPECT_EQ(status("two_phase(context=none,decode=knorm(threshold=0,window=77))"), Status::kOk);
  EXPECT_EQ(status("two_phase(context=none,decode=knorm(threshold=0,window=80))"), Status::kInert);
  EXPECT_EQ(status("two_phase(context=knorm(keep=1),decode=h2o(keep=1))"), Status::kNeutral);
  EXPECT_EQ(status("two_phase(context=none,decode=h2o(keep=1))"), Status::kNeutral);
  EXPECT_EQ(status("two_phase(context=knorm(keep=1),decode=h2o(size=24))"), Status::kOk);
  EXPECT_EQ(status("two_phase(context=streaming_llm(window=20),decode=h2o(size=24,sinks=4,window=20))"),
            Status::kFallback);
  EXPECT_EQ(status("two_phase(context=streaming_llm(window=20),decode=streaming_llm(window=20))"),
            Status::kOk);
  EXPECT_EQ(status("two_phase(context=kvzap(threshold=-6),decode=h2o(size=24))"), Status::kSkipped);
}

TEST_F(StatusTest, TwoPhasesRunOverSeeds) {
  CompareOptions prefix;
  prefix.run.protocol = {Protocol::Kind::kPrefix, 50};
  prefix.seeds = 3;
  const auto rows = compare_recipes({"two_phase(context=random(keep=0.5),decode=streaming_llm(size=24))",
                                     "two_phase(context=knorm(keep=0.5),decode=random(keep=0.4))",
                                     "two_phase(context=random(keep=0.5,seed=2),decode=h2o(size=24))"},
                                    documents(1, 80), prefix);
  for (const size_t r : {0, 1}) {
    ASSERT_EQ(rows[r].seed_results.size(), 3u) << r;
    std::set<double> losses;
    for (const MethodResult& run : rows[r].seed_results) losses.insert(run.documents.at(0).nll_sum);
    EXPECT_EQ(losses.size(), 3u) << "seeds that change nothing";
    EXPECT_EQ(rows[r].seed_results[2].seed, 2);
  }
  EXPECT_EQ(rows[2].seed_results.size(), 0u);
  EXPECT_EQ(rows[2].seed, 2);
  EXPECT_EQ(rows[2].every, 1);
}

TEST_F(StatusTest, SkippedWithoutAScorer) {
  const MethodResult row = compare_one("kvzap(threshold=-6)", 40);
  EXPECT_EQ(row.status, Status::kSkipped);
  EXPECT_THAT(row.reason, ::testing::HasSubstr("model="));
}

}  // namespace
}  // namespace kvlab
