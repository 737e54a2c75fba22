// Ridge regression: the conditions that only its solution meets.
#include "train/ridge.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace kvlab {
namespace {

constexpr int kIn = 6, kOut = 2, kRows = 40;

struct Data {
  std::vector<float> x, y;
};

// Inputs far from zero and of unequal scale, as hidden states are.
Data data() {
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  Data d;
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kIn; ++i) d.x.push_back(normal(generator) * static_cast<float>(i + 1) + 10);
    for (int o = 0; o < kOut; ++o) d.y.push_back(d.x[r * kIn + o] * 0.3f + normal(generator) - 7);
  }
  return d;
}

Surrogate fit(const Data& d, double alpha, int block) {
  Ridge ridge(kIn, kOut);
  for (int first = 0; first < kRows; first += block)
    ridge.add(d.x.data() + first * kIn, d.y.data() + first * kOut, std::min(block, kRows - first));
  return ridge.solve(alpha);
}

// At the minimum of sum ||y - wx - b||^2 + alpha ||w||^2: residuals add up to 0, and times x to alpha w.
TEST(Ridge, MeetsTheNormalEquations) {
  const Data d = data();
  for (const double alpha : {0.0, 1.0, 100.0}) {
    const Surrogate s = fit(d, alpha, 16);
    for (int o = 0; o < kOut; ++o) {
      double sum = 0;
      std::vector<double> times_x(kIn);
      for (int r = 0; r < kRows; ++r) {
        double residual = d.y[r * kOut + o] - s.bias()[o];
        for (int i = 0; i < kIn; ++i)
          residual -= static_cast<double>(s.weight()[o * kIn + i]) * d.x[r * kIn + i];
        sum += residual;
        for (int i = 0; i < kIn; ++i) times_x[i] += residual * d.x[r * kIn + i];
      }
      EXPECT_NEAR(sum, 0, 1e-3) << alpha;
      for (int i = 0; i < kIn; ++i)
        EXPECT_NEAR(times_x[i], alpha * s.weight()[o * kIn + i], 2e-2) << alpha << " " << i;
    }
  }
}

TEST(Ridge, DoesNotDependOnBlocks) {
  const Data d = data();
  const Surrogate whole = fit(d, 1, kRows), parts = fit(d, 1, 7);
  for (size_t i = 0; i < whole.values.size(); ++i) EXPECT_NEAR(whole.values[i], parts.values[i], 1e-6);
}

TEST(Ridge, RefusesEquationsWithoutASolution) {
  Ridge ridge(2, 1);
  const std::vector<float> x{1, 1, 2, 2, 3, 3}, y{1, 2, 3};
  ridge.add(x.data(), y.data(), 3);
  EXPECT_THROW(ridge.solve(0), UserError);
  EXPECT_NO_THROW(ridge.solve(1));
}

}  // namespace
}  // namespace kvlab
