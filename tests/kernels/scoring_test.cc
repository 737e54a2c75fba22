#include "kernels/scoring.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/rotary_table.h"

namespace kvlab {
namespace {

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

TEST(ScoringKernels, DotsEqualTheReference) {
  for (const int n : {4, 8, 13, 64, 80, 128}) {
    constexpr int64_t kCount = 37;
    const auto x = random_values(n, 1), rows = random_values(kCount * n, 2);
    std::vector<float> expected(kCount), got(kCount);
    reference::dots(x.data(), rows.data(), kCount, n, expected.data());
    dots(x.data(), rows.data(), kCount, n, got.data());
    for (int64_t r = 0; r < kCount; ++r) EXPECT_NEAR(got[r], expected[r], 2e-6 * n) << n;
  }
}

TEST(ScoringKernels, SoftmaxLeavesMaskedEntriesOut) {
  for (const int64_t n : {1, 2, 15, 16, 17, 100}) {
    auto x = random_values(n, 4);
    for (int64_t i = 0; i < n; ++i) x[i] *= 20;
    for (int64_t i = 1; i < n; i += 3) x[i] = -1e30f;
    auto expected = x;
    reference::masked_softmax(expected.data(), n);
    masked_softmax(x.data(), n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_NEAR(x[i], expected[i], 1e-6);
      if (i % 3 == 1) {
        EXPECT_EQ(x[i], 0.0f);
      }
      sum += x[i];
    }
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

TEST(ScoringKernels, UnrotatingUndoesTheRotation) {
  const std::vector<double> frequencies = {1.0, 0.1, 0.01};
  const RotaryTable table(frequencies, 1000, 2);
  for (int row = 0; row < 2; ++row) {
    const auto x = random_values(8, 5);
    auto rotated = x;
    rotate_half_split(rotated.data(), table.cos_row(row), table.sin_row(row), 6);
    std::vector<double> back(8);
    unrotate_half_split(rotated.data(), table.cos_row(row), table.sin_row(row), 3, 8, back.data());
    for (int i = 0; i < 8; ++i) EXPECT_NEAR(back[i], x[i], 1e-6);
  }
}

}  // namespace
}  // namespace kvlab
