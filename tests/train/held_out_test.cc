// The figures by which a fit is judged.
#include "train/held_out.h"

#include <gtest/gtest.h>

namespace kvlab {
namespace {

TEST(FitStatistics, CorrelationForgivesScaleAndExplainedDoesNot) {
  FitStatistics exact, scaled;
  for (const double t : {1.0, 2.0, 4.0, 7.0}) {
    exact.add(t, t);
    scaled.add(3 * t - 50, t);
  }
  EXPECT_NEAR(exact.squared_correlation(), 1, 1e-12);
  EXPECT_NEAR(exact.explained(), 1, 1e-12);
  EXPECT_NEAR(scaled.squared_correlation(), 1, 1e-12);
  EXPECT_LT(scaled.explained(), -10);
}

TEST(FitStatistics, ByHand) {
  FitStatistics s;  // means 2 and 3
  s.add(1, 2);
  s.add(2, 5);
  s.add(3, 2);
  EXPECT_NEAR(s.squared_correlation(), 0, 1e-12);
  EXPECT_NEAR(s.explained(), 1 - (1 + 9 + 1) / 6.0, 1e-12);
  EXPECT_EQ(s.count(), 3);
  FitStatistics constant;
  constant.add(1, 2);
  constant.add(1, 3);
  EXPECT_EQ(constant.squared_correlation(), 0);
}

TEST(ThresholdTable, HasTheShareAtOrAbove) {
  std::vector<float> scores;
  for (int i = 0; i < 1000; ++i) scores.push_back(static_cast<float>(-i) / 100);
  const auto table = threshold_table(scores);
  ASSERT_EQ(table.size(), 20u);
  double last = -1e9;
  for (const auto& row : table) {
    const double threshold = row.at("threshold");
    EXPECT_GT(threshold, last);
    last = threshold;
    EXPECT_NEAR(row.at("density"), (-threshold * 100 + 1) / 1000, 1.1e-3);
  }
  EXPECT_EQ(threshold_table({}).size(), 0u);
  EXPECT_EQ(threshold_table({1, 1, 1}).size(), 1u);
}

}  // namespace
}  // namespace kvlab
