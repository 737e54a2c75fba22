// Which tokens count as long-range, what rows sum over them, and which rows are marked.
#include "evals/long_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "contract/harness.h"
#include "evals/compare.h"
#include "results/summary.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::random_tokens;
using testing::tiny_model;

class LongRange : public testing::OneThread {};

TokenDocument document_of(int tokens, int64_t index = 0) {
  TokenDocument document;
  document.index = index;
  document.id = "doc " + std::to_string(index);
  document.tokens = random_tokens(tokens, 7 + static_cast<uint64_t>(index));
  document.scored.assign(tokens, 1);
  document.scored[0] = 0;
  return document;
}

ComparisonResult compare_on(const std::vector<std::string>& recipes, const std::vector<int>& lengths,
                            CompareOptions options = {}) {
  std::vector<MethodSpec> specs;
  for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, {}));
  std::vector<TokenDocument> documents;
  for (const int length : lengths)
    documents.push_back(document_of(length, static_cast<int64_t>(documents.size())));
  return compare(tiny_model(), specs, documents, options, silent_progress(), [](const auto&) {}).result;
}

TEST_F(LongRange, ChosenIsWhatLosesMoreThanHalfANat) {
  EXPECT_THAT(choose_long_range(std::vector<float>{1, 2, 3, 0}, std::vector<float>{0.75f, 1.5f, 2.25f, 4}),
              ElementsAre(0, 0, 1, 0))
      << "exactly 0.5 is not more";
}

TEST_F(LongRange, SumsFollowTheBlocksOfTheDifferences) {
  const size_t scored = kBlockTokens + 10;
  std::vector<float> baseline(scored, 1), nll(scored, 1.5f);
  std::vector<uint8_t> chosen(scored, 0);
  chosen[3] = chosen[kBlockTokens] = chosen[scored - 1] = 1;
  nll[3] = 4;
  DocumentResult result;
  result.delta_blocks = {0, 0};
  add_long_range(chosen, baseline, {nll, &result});
  EXPECT_EQ(result.tokens_long_range, 3);
  EXPECT_EQ(result.delta_nll_long_range_sum, 4);
  EXPECT_THAT(result.long_range_block_tokens, ElementsAre(1, 2));
  EXPECT_THAT(result.long_range_delta_blocks, ElementsAre(3, 1));

  DocumentResult of_the_baseline;
  add_long_range(chosen, baseline, {baseline, &of_the_baseline});
  EXPECT_EQ(of_the_baseline.tokens_long_range, 3);
  EXPECT_TRUE(of_the_baseline.long_range_delta_blocks.empty()) << "it is paired with nothing";
}

TEST_F(LongRange, FamilyOfTheControl) {
  const auto like = [](const char* recipe) { return evicts_like_control(resolve_recipe(recipe, {})); };
  EXPECT_TRUE(like("streaming_llm(keep=0.3)"));
  EXPECT_TRUE(like("streaming_llm(sinks=0,window=50)"));
  EXPECT_TRUE(like("random_validation"));
  EXPECT_FALSE(like("random(threshold=0.9)"));
  EXPECT_FALSE(like("random(keep=0.5)"));
  EXPECT_FALSE(like("knorm(keep=0.5)"));
  EXPECT_FALSE(like("none+f32"));
}

// The control's tokens and losses, from a row that is the control.
TEST_F(LongRange, EveryRowIsJudgedOnTheTokensOfTheControl) {
  const std::vector<std::string> recipes = {"streaming_llm(sinks=4,window=128)", "knorm(keep=0.5)",
                                            "random(keep=0.5)"};
  CompareOptions options;
  options.token_nll = true;
  options.seeds = 2;
  const ComparisonResult result = compare_on(recipes, {300, 100, 260}, options);
  ASSERT_TRUE(result.long_range);
  const std::vector<DocumentResult>&base = result.methods[0].documents,
        &control = result.methods[2].documents, &knorm = result.methods[3].documents;
  for (size_t d = 0; d < 3; ++d) {
    int64_t tokens = 0;
    double delta = 0;
    for (size_t i = 0; i < base[d].token_nll->size(); ++i) {
      const double b = (*base[d].token_nll)[i];
      if ((*control[d].token_nll)[i] - b <= kLongRangeLoss) continue;
      ++tokens;
      delta += (*knorm[d].token_nll)[i] - b;
    }
    EXPECT_EQ(tokens > 0, d != 1) << "the control evicts nothing of 100 tokens";
    EXPECT_EQ(knorm[d].tokens_long_range, tokens);
    EXPECT_NEAR(knorm[d].delta_nll_long_range_sum, delta, 1e-6);
  }
  const std::vector<MethodSummary> rows = summarise_all(result);
  EXPECT_EQ(rows[0].delta_nll_long_range, 0.0);
  EXPECT_EQ(*rows[3].long_range_tokens, static_cast<double>(result.long_range->tokens_chosen));
  EXPECT_EQ(*rows[4].long_range_tokens, *rows[3].long_range_tokens) << "the same for each seed";
  EXPECT_NEAR(*rows[2].delta_nll_long_range * static_cast<double>(result.long_range->tokens_chosen),
              result.long_range->delta_nll_long_range_sum, 1e-9);
  EXPECT_GT(*rows[2].delta_nll_long_range, kLongRangeLoss);
}

TEST_F(LongRange, ARunOfItsOwnGivesTheSameAsTheRow) {
  const ComparisonResult with = compare_on({"streaming_llm(sinks=4,window=128)", "knorm(keep=0.5)"}, {300});
  const ComparisonResult without = compare_on({"knorm(keep=0.5)"}, {300});
  EXPECT_EQ(with.long_range->tokens_chosen, without.long_range->tokens_chosen);
  EXPECT_EQ(with.long_range->delta_nll_sum, without.long_range->delta_nll_sum);
  EXPECT_EQ(with.methods[3].documents[0].delta_nll_long_range_sum,
            without.methods[2].documents[0].delta_nll_long_range_sum);
}

TEST_F(LongRange, RowsOfTheControlsFamilyAreMarked) {
  const ComparisonResult result =
      compare_on({"random_validation", "knorm(size=36,sinks=4,window=32)", "knorm(keep=0.5)"}, {260});
  const auto note_of = [&](size_t row) {
    std::string text;
    for (const std::string& note : result.methods[row].notes) text += note;
    return text;
  };
  EXPECT_TRUE(result.methods[2].control_family);
  EXPECT_THAT(note_of(2), HasSubstr("speaks against it"));
  EXPECT_EQ(result.methods[3].status, Status::kFallback);
  EXPECT_TRUE(result.methods[3].control_family) << "forced to keep the sinks and the window";
  EXPECT_FALSE(result.methods[4].control_family);
  EXPECT_EQ(note_of(4), "");
}

TEST_F(LongRange, NothingToLose) {
  const ComparisonResult result = compare_on({"streaming_llm(size=40)", "knorm(keep=0.5)"}, {132, 90});
  EXPECT_EQ(result.long_range->tokens_chosen, 0);
  EXPECT_EQ(result.long_range->longest_document, 132);
  EXPECT_FALSE(summarise_all(result)[3].delta_nll_long_range);
  EXPECT_TRUE(result.methods[2].notes.empty()) << "no figure, no note";
}

TEST_F(LongRange, NoControlWhereItIsOfNoUse) {
  EXPECT_FALSE(compare_on({"none"}, {140}).long_range);
  EXPECT_FALSE(compare_on({"kvzap"}, {140}).long_range) << "a row that is skipped";
  CompareOptions options;
  options.long_range = false;
  const ComparisonResult off = compare_on({"knorm(keep=0.5)"}, {140}, options);
  EXPECT_FALSE(off.long_range);
  EXPECT_FALSE(summarise_all(off)[2].long_range_tokens);
}

TEST_F(LongRange, UnderAPrefixTheControlStreamsToo) {
  CompareOptions options;
  options.run.protocol = {Protocol::Kind::kPrefix, 200};
  const ComparisonResult result = compare_on({"knorm(keep=0.5,at=context)"}, {300}, options);
  EXPECT_EQ(result.long_range->tokens_scored, 100);
  EXPECT_GT(result.long_range->tokens_chosen, 0);
}

}  // namespace
}  // namespace kvlab
