#include "results/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace kvlab {
namespace {

// Tables of Student's t (Abramowitz and Stegun, table 26.10).
TEST(StudentT, QuantilesOfTheTables) {
  const struct {
    double p, df, t;
  } table[] = {{0.975, 1, 12.706}, {0.975, 2, 4.303},  {0.975, 5, 2.571},     {0.975, 9, 2.262},
               {0.975, 11, 2.201}, {0.975, 30, 2.042}, {0.975, 120, 1.980},   {0.95, 10, 1.812},
               {0.995, 4, 4.604},  {0.995, 60, 2.660}, {0.975, 1e6, 1.95997}, {0.9, 3, 1.638}};
  for (const auto& row : table) {
    EXPECT_NEAR(t_quantile(row.p, row.df), row.t, 6e-4) << row.p << " " << row.df;
    EXPECT_DOUBLE_EQ(t_quantile(1 - row.p, row.df), -t_quantile(1 - (1 - row.p), row.df));
  }
  EXPECT_NEAR(t_quantile(0.5, 7), 0, 1e-12);
}

TEST(StudentT, TailsInClosedForm) {
  for (double t : {0.0, 0.3, 1.0, 4.0, 50.0}) {
    EXPECT_NEAR(t_two_sided_p(t, 1), 1 - 2 * std::atan(t) / M_PI, 1e-13);
    EXPECT_NEAR(t_two_sided_p(-t, 2), 1 - t / std::sqrt(2 + t * t), 1e-13);
  }
  EXPECT_EQ(t_two_sided_p(INFINITY, 5), 0);
  EXPECT_NEAR(incomplete_beta(2, 3, 0.4), 0.5248, 1e-13) << "a polynomial: 6x² − 8x³ + 3x⁴";
}

// The definition written out another way: replace d_i by its influence on R and take their variance.
TEST(RatioEstimate, IsTheVarianceOfTheInfluences) {
  const std::vector<TokenSum> documents = {{100, 7}, {300, 60}, {50, -2}, {700, 75}};
  const RatioEstimate estimate = ratio_estimate(documents);
  EXPECT_DOUBLE_EQ(estimate.value, 140.0 / 1150);
  std::vector<double> influences;
  double mean = 0;
  for (const TokenSum& document : documents) {
    influences.push_back(4 * (document.sum - 140.0 / 1150 * document.tokens) / 1150);
    mean += influences.back() / 4;
  }
  double variance = 0;
  for (double influence : influences) variance += (influence - mean) * (influence - mean) / 3;
  EXPECT_NEAR(estimate.standard_error, std::sqrt(variance / 4), 1e-15);
}

TEST(RatioEstimate, OfEqualLengthsIsTheOrdinaryMean) {
  const std::vector<TokenSum> documents = {{10, 10}, {10, 20}, {10, 60}};
  const RatioEstimate estimate = ratio_estimate(documents);
  EXPECT_DOUBLE_EQ(estimate.value, 3);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(7.0 / 3), 1e-12) << "values 1, 2, 6: variance 7";
}

// One data set: documents of 200 to 1200 tokens whose means differ (0.25) and whose tokens scatter (2.3).
std::vector<TokenSum> simulated_documents(int count, double mean, std::mt19937_64& random) {
  std::uniform_int_distribution<int> length(200, 1200);
  std::normal_distribution<double> normal;
  std::vector<TokenSum> documents;
  for (int i = 0; i < count; ++i) {
    const double tokens = length(random);
    const double effect = mean + 0.25 * normal(random);
    documents.push_back({tokens, tokens * effect + 2.3 * std::sqrt(tokens) * normal(random)});
  }
  return documents;
}

TEST(TInterval, CoversTheTruthAsOftenAsItSays) {
  constexpr int kDataSets = 4000;
  constexpr double kMean = 0.1;
  for (int count : {12, 16, 64}) {
    std::mt19937_64 random(7);
    int covered = 0;
    for (int i = 0; i < kDataSets; ++i) {
      const Interval ci = t_inference(simulated_documents(count, kMean, random)).ci95;
      covered += ci.low <= kMean && kMean <= ci.high;
    }
    const double share = static_cast<double>(covered) / kDataSets;
    RecordProperty("coverage_of_" + std::to_string(count), std::to_string(share));
    EXPECT_GE(share, 0.93) << count << " documents";
    EXPECT_LE(share, 0.97) << count << " documents";
  }
}

TEST(TInterval, PValueAndIntervalAgree) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const Inference inference = t_inference(simulated_documents(12, 0.1, random));
    const bool without_zero = inference.ci95.low > 0 || inference.ci95.high < 0;
    EXPECT_EQ(inference.p < 0.05, without_zero);
  }
}

TEST(TInterval, WithoutScatter) {
  const std::vector<TokenSum> nothing = {{10, 0}, {20, 0}}, always = {{10, 5}, {20, 10}};
  EXPECT_EQ(t_inference(nothing).p, 1);
  EXPECT_EQ(t_inference(always).p, 0);
  EXPECT_EQ(t_inference(always).ci95.low, 0.5);
}

std::vector<std::vector<TokenSum>> simulated_blocks(double mean, std::mt19937_64& random) {
  std::normal_distribution<double> normal(mean, 0.2);
  std::vector<std::vector<TokenSum>> documents(3);
  for (auto& blocks : documents) {
    for (int b = 0; b < 20; ++b) blocks.push_back({128, 128 * normal(random)});
  }
  return documents;
}

TEST(Bootstrap, SameSeedSameResult) {
  std::mt19937_64 random(1);
  const auto documents = simulated_blocks(0.1, random);
  const Inference one = bootstrap_inference(documents), two = bootstrap_inference(documents);
  EXPECT_EQ(one.ci95.low, two.ci95.low);
  EXPECT_EQ(one.ci95.high, two.ci95.high);
  EXPECT_NE(one.ci95.low, bootstrap_inference(documents, kBootstrapResamples, 5).ci95.low);
}

TEST(Bootstrap, IsNearTheNormalInterval) {
  std::mt19937_64 random(2);
  const auto documents = simulated_blocks(0.1, random);
  double sum = 0, variance = 0;
  for (const auto& blocks : documents) {
    double own = 0;
    for (const TokenSum& block : blocks) own += block.sum / 128 / 20;
    sum += own / 3;
    for (const TokenSum& block : blocks) variance += std::pow((block.sum / 128 - own) / 60, 2);
  }
  const Inference inference = bootstrap_inference(documents);
  EXPECT_NEAR(inference.ci95.low, sum - 1.96 * std::sqrt(variance), 0.005);
  EXPECT_NEAR(inference.ci95.high, sum + 1.96 * std::sqrt(variance), 0.005);
}

TEST(Bootstrap, DifferencesBetweenDocumentsDoNotWidenIt) {
  const std::vector<std::vector<TokenSum>> documents = {{{128, 1}, {128, 1}}, {{128, 99}, {128, 99}}};
  const Inference inference = bootstrap_inference(documents);
  EXPECT_EQ(inference.ci95.low, inference.ci95.high);
  EXPECT_NEAR(inference.p, 2.0 / 2001, 1e-12) << "no smaller than the resamples can tell";
}

// Blocks without tokens are part of the chance: of which blocks hold them, and how many.
TEST(Bootstrap, EmptyBlocksAndResamplesWithoutATokenAreDrawnAgain) {
  const std::vector<std::vector<TokenSum>> one_of_three = {{{0, 0}, {2, 3}, {0, 0}}};
  const Interval always = bootstrap_inference(one_of_three).ci95;
  EXPECT_EQ(always.low, 1.5);
  EXPECT_EQ(always.high, 1.5);
  const std::vector<std::vector<TokenSum>> some = {{{1, 0}, {0, 0}, {1, 1}, {0, 0}}};
  EXPECT_EQ(bootstrap_inference(some).ci95.low, 0);
  EXPECT_EQ(bootstrap_inference(some).ci95.high, 1);
}

TEST(Quantile, InterpolatesLinearly) {
  const std::vector<double> values = {1, 2, 4, 8, 16};
  EXPECT_EQ(quantile_of_sorted(values, 0), 1);
  EXPECT_EQ(quantile_of_sorted(values, 0.5), 4);
  EXPECT_DOUBLE_EQ(quantile_of_sorted(values, 0.9), 8 + 0.6 * 8);
  EXPECT_EQ(quantile_of_sorted(values, 1), 16);
  const std::vector<float> one = {3};
  EXPECT_EQ(quantile_of_sorted(one, 0.99), 3);
}

TEST(Holm, StepsDown) {
  using P = std::optional<double>;
  const std::vector<P> adjusted = holm({0.01, std::nullopt, 0.04, 0.03, 0.005});
  const double expected[] = {0.03, 0, 0.06, 0.06, 0.02};
  EXPECT_FALSE(adjusted[1]) << "what is not tested does not count";
  for (size_t i : {0, 2, 3, 4}) EXPECT_DOUBLE_EQ(*adjusted[i], expected[i]) << i;
  EXPECT_EQ(*holm({P(0.7), P(0.8)})[0], 1);
  EXPECT_TRUE(holm({}).empty());
}

TEST(MarginVerdict, NeedsTheWholeInterval) {
  const double one_percent = std::log(1.01);
  EXPECT_STREQ(margin_verdict({-0.001, one_percent - 1e-6}, 0.01), "PASS");
  EXPECT_STREQ(margin_verdict({0.005, one_percent + 1e-6}, 0.01), "INCONCLUSIVE");
  EXPECT_STREQ(margin_verdict({one_percent + 1e-6, 0.5}, 0.01), "FAIL");
}

}  // namespace
}  // namespace kvlab
