#include "reports/axis_scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kvlab {
namespace {

using testing::ElementsAre;
using testing::Pointwise;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

void expect_ticks(const std::vector<double>& ticks, const std::vector<double>& expected) {
  EXPECT_THAT(ticks, Pointwise(testing::DoubleNear(1e-9), expected));
}

TEST(LinearTicks, AreMultiplesOfNiceSteps) {
  expect_ticks(linear_ticks(0, 0.9, 11), {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9});
  expect_ticks(linear_ticks(0.02, 0.93, 7), {0, 0.2, 0.4, 0.6, 0.8, 1});
  expect_ticks(linear_ticks(-3.2, 12, 6), {-5, 0, 5, 10, 15});
  expect_ticks(linear_ticks(1000, 1999, 5), {1000, 1500, 2000});
}

TEST(LinearTicks, CoverTheRangeWithNoMoreThanAskedFor) {
  for (const int most : {3, 5, 9}) {
    for (const double low : {-7.3, 0.0, 0.00012, 99.7}) {
      for (const double length : {0.0003, 0.7, 1.0, 38.0, 1e7}) {
        const std::vector<double> ticks = linear_ticks(low, low + length, most);
        EXPECT_LE(ticks.front(), low + 1e-9 * length);
        EXPECT_GE(ticks.back(), low + length - 1e-9 * length);
        EXPECT_GE(ticks.size(), 2u);
        EXPECT_LE(ticks.size(), static_cast<size_t>(most)) << low << " " << length;
      }
    }
  }
}

TEST(LinearTicks, ASingleValueGetsRoomOnBothSides) {
  for (const double value : {0.0, 5.0, -2.0, 1e17}) {
    const std::vector<double> ticks = linear_ticks(value, value, 9);
    EXPECT_LT(ticks.front(), value);
    EXPECT_GT(ticks.back(), value);
  }
}

TEST(LogTicks, PowersOfTenAndTheirMultiples) {
  expect_ticks(log_ticks(12, 900, 9), {10, 20, 50, 100, 200, 500, 1000});
  expect_ticks(log_ticks(3, 40000, 9), {1, 10, 100, 1000, 10000, 100000});
  expect_ticks(log_ticks(20, 25, 9), linear_ticks(20, 25, 9));
  const std::vector<double> wide = log_ticks(1e-8, 1e12, 9);
  EXPECT_LE(wide.size(), 9u);
  EXPECT_LE(wide.front(), 1e-8 * 1.001);
  EXPECT_GE(wide.back(), 1e12 * 0.999);
  for (size_t i = 1; i < wide.size(); ++i)
    EXPECT_NEAR(std::log10(wide[i] / wide[i - 1]), std::log10(wide[1] / wide[0]), 1e-9);
}

TEST(TickLabels, HaveTheDigitsThatTellThemApart) {
  EXPECT_THAT(tick_labels({0, 0.5, 1}), ElementsAre("0.0", "0.5", "1.0"));
  EXPECT_THAT(tick_labels({-0.0, 20, 40}), ElementsAre("0", "20", "40"));
  EXPECT_THAT(tick_labels(linear_ticks(0, 0.3, 4)), ElementsAre("0.0", "0.1", "0.2", "0.3"));
  EXPECT_THAT(tick_labels({0.01, 0.1, 1}), ElementsAre("0.01", "0.10", "1.00"));
  EXPECT_THAT(tick_labels({0, 5e6, 1e7}), ElementsAre("0", "5e+06", "1e+07"));
}

TEST(AxisScale, PlacesValues) {
  const AxisScale linear = fit_scale({0, 10, kNan, kInfinity}, false, 6);
  EXPECT_DOUBLE_EQ(linear.place(0), 0);
  EXPECT_DOUBLE_EQ(linear.place(2.5), 0.25);
  EXPECT_TRUE(std::isnan(linear.place(kNan)));
  EXPECT_TRUE(std::isnan(linear.place(kInfinity)));
  const AxisScale logarithmic = fit_scale({1, 100, -5, 0}, true, 9);
  EXPECT_DOUBLE_EQ(logarithmic.place(10), 0.5);
  EXPECT_TRUE(std::isnan(logarithmic.place(0)));
  EXPECT_TRUE(std::isnan(logarithmic.place(-5)));
}

TEST(AxisScale, NothingToShowIsAnAxisAllTheSame) {
  EXPECT_EQ(fit_scale({}, false, 6).high, 1);
  EXPECT_EQ(fit_scale({kNan}, true, 6).low, 1);
}

}  // namespace
}  // namespace kvlab
