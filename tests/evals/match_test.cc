// Equal budgets: what is found on the slice against what a run of it sees.
#include "evals/match.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::random_tokens;
using testing::tiny_model;

class MatchTest : public testing::OneThread {};

std::vector<TokenDocument> documents(const std::vector<int>& lengths) {
  std::vector<TokenDocument> result;
  for (size_t i = 0; i < lengths.size(); ++i) {
    TokenDocument document;
    document.index = static_cast<int64_t>(i);
    document.id = "document " + std::to_string(i);
    document.tokens = random_tokens(lengths[i], 50 + i);
    document.scored.assign(lengths[i], 1);
    document.scored[0] = 0;
    result.push_back(std::move(document));
  }
  return result;
}

double seen_by_a_run(const MethodSpec& spec, const std::vector<TokenDocument>& slice,
                     const RunOptions& options) {
  const auto method = make_method(spec, testing::tiny_shape());
  double visible = 0, dense = 0;
  for (const TokenDocument& document : slice) {
    const DocumentResult result = run_document(tiny_model(), method, document, options).result;
    visible += result.seen_visible;
    dense += result.seen_dense;
  }
  return visible / dense;
}

MatchedMethod match(const std::string& recipe, double target, const std::vector<TokenDocument>& slice,
                    const RunOptions& run = {}) {
  return match_budget(tiny_model(), resolve_recipe(recipe, {}), slice, {target, 0.01, run},
                      silent_progress());
}

TEST_F(MatchTest, TheScheduleSaysWhatRunsSee) {
  const auto slice = documents({150, 90});
  for (const char* recipe : {"knorm(keep=0.3)", "knorm(keep=0.3,every=7)", "h2o(size=40)", "tova(keep=0.4)",
                             "random(free_density=0.2,window=16)", "streaming_llm(sinks=4,window=30)",
                             "snapkv(keep=0.5,every=16)", "oracle(keep=0.2)"}) {
    const MethodSpec spec = resolve_recipe(recipe, {});
    EXPECT_NEAR(scheduled_seen(spec.policy, slice, {}), seen_by_a_run(spec, slice, {}), 1e-12) << recipe;
  }
  RunOptions prefix;
  prefix.protocol = {Protocol::Kind::kPrefix, 60};
  for (const char* recipe : {"knorm(keep=0.3,at=context)", "tova(keep=0.3)"}) {
    const MethodSpec spec = resolve_recipe(recipe, {});
    EXPECT_NEAR(scheduled_seen(spec.policy, slice, prefix.protocol), seen_by_a_run(spec, slice, prefix),
                1e-12)
        << recipe;
  }
}

TEST_F(MatchTest, FindsEveryKindOfBudget) {
  const auto slice = documents({200});
  for (const char* recipe :
       {"knorm", "knorm(threshold=0,window=16)", "knorm(threshold=100,window=16)",
        "h2o(threshold=0.5,window=16)", "random(threshold=0.5,window=16)", "streaming_llm(size=100)",
        "h2o(free_density=0.5,window=16)", "oracle", "tova(keep=0.1)"}) {
    SCOPED_TRACE(recipe);
    const MatchedMethod found = match(recipe, 0.4, slice);
    ASSERT_TRUE(found.record.feasible) << found.record.reason;
    EXPECT_NEAR(found.record.reached, 0.4, 0.004);
    EXPECT_EQ(seen_by_a_run(found.spec, slice, {}), found.record.reached) << found.spec.recipe;
    EXPECT_EQ(found.spec.policy.value, found.record.value);
    EXPECT_EQ(found.spec.display, resolve_recipe(recipe, {}).display);
  }
  EXPECT_EQ(match("knorm", 0.4, slice).record.variable, "keep");
  EXPECT_EQ(match("knorm", 0.4, slice).record.runs, 1) << "a schedule needs no search by runs";
}

TEST_F(MatchTest, InfeasibleWhereProtectionAloneIsMore) {
  const auto slice = documents({200});
  const MatchedMethod found = match("knorm(threshold=-3,window=128)", 0.4, slice);
  EXPECT_FALSE(found.record.feasible);
  EXPECT_GT(found.record.least, 0.5);
  EXPECT_EQ(found.record.runs, 0);
  EXPECT_THAT(found.record.reason, ::testing::HasSubstr("what is protected is already"));
  EXPECT_FALSE(match("streaming_llm(size=140,window=128)", 0.4, slice).record.feasible);
}

TEST_F(MatchTest, WithoutASingleBudgetNothingMoves) {
  for (const std::string recipe : {"none", "two_phase(context=knorm(keep=0.5),decode=h2o(keep=0.5))"}) {
    SCOPED_TRACE(recipe);
    const MatchedMethod found = match(recipe, 0.4, documents({60}));
    EXPECT_TRUE(found.record.feasible);
    EXPECT_EQ(found.record.variable, "");
    EXPECT_NE(found.record.reason, "");
    EXPECT_EQ(found.spec.recipe, resolve_recipe(recipe, {}).recipe);
  }
}

TEST(Calibration, TheSliceIsNotComparedOn) {
  const auto names = [](const std::vector<TokenDocument>& list) {
    std::vector<int64_t> indices;
    for (const TokenDocument& document : list) indices.push_back(document.index);
    return indices;
  };
  CalibrationSplit split = split_for_calibration(documents({20, 20, 20}), 0);
  EXPECT_THAT(names(split.slice), ::testing::ElementsAre(0));
  EXPECT_THAT(names(split.rest), ::testing::ElementsAre(1, 2));
  split = split_for_calibration(documents({20, 20, 20}), 2);
  EXPECT_THAT(names(split.rest), ::testing::ElementsAre(2));
  EXPECT_THROW(split_for_calibration(documents({20, 20, 20}), 3), UserError);
  EXPECT_THROW(split_for_calibration(documents({20}), 1), UserError);

  const auto one = documents({41});
  split = split_for_calibration(one, 0);
  ASSERT_EQ(split.slice[0].tokens.size(), 20u);
  ASSERT_EQ(split.rest[0].tokens.size(), 21u);
  EXPECT_EQ(split.rest[0].tokens[0], one[0].tokens[20]);
  EXPECT_EQ(split.rest[0].scored[0], 0);
  EXPECT_EQ(split.rest[0].scored[1], 1);
  EXPECT_THROW(split_for_calibration(documents({3}), 0), UserError);
}

}  // namespace
}  // namespace kvlab
