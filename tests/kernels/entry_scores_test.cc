// The arithmetic of scores over slots against plain loops, on every instruction set the machine has.
#include "kernels/entry_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/every_level.h"

namespace kvlab {
namespace {

TEST(EntryScores, AddsWeights) {
  for_each_level([] {
    for (int n : {0, 1, 7, 16, 17, 100}) {
      for (int group : {1, 3, 16}) {
        const int64_t stride = 112;
        const std::vector<float> weights = random_floats(group * stride, 3);
        std::vector<float> sums = random_floats(n + 1, 4), expected = sums;
        add_weights(weights.data(), stride, group, n, 0.7f, sums.data());
        add_weights_reference(weights.data(), stride, group, n, 0.7f, expected.data());
        for (int i = 0; i < n; ++i) EXPECT_NEAR(sums[i], expected[i], 1e-6) << n << " " << group << " " << i;
        EXPECT_EQ(sums[n], expected[n]);
      }
    }
  });
}

void expect_least(const std::vector<float>& scores, const std::vector<int32_t>& positions, int64_t sinks,
                  int64_t window_start) {
  const int n = static_cast<int>(scores.size());
  const LeastEntry expected = least_open_reference(scores.data(), positions.data(), n, sinks, window_start);
  const LeastEntry least = least_open(scores.data(), positions.data(), n, sinks, window_start);
  EXPECT_EQ(least.slot, expected.slot) << n << " in [" << sinks << ", " << window_start << ")";
  EXPECT_EQ(least.open, expected.open) << n << " in [" << sinks << ", " << window_start << ")";
}

std::vector<int32_t> scrambled(int n) {
  std::vector<int32_t> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  for (int i = 0; i < n; ++i) std::swap(positions[i], positions[mix64(i) % (i + 1)]);
  return positions;
}

TEST(EntryScores, FindsTheLeast) {
  for_each_level([] {
    for (int n : {0, 1, 5, 16, 31, 64, 333}) {
      const std::vector<float> scores = random_floats(n, n);
      for (int64_t sinks : {0, 4, 20})
        for (int64_t start : {0, 3, 15, 50, 300, 1000}) expect_least(scores, scrambled(n), sinks, start);
    }
  });
}

TEST(EntryScores, OfEqualScoresTheLowerPosition) {
  for_each_level([] {
    constexpr int n = 200;
    std::vector<float> scores(n);
    for (int levels : {1, 2, 5}) {
      for (int i = 0; i < n; ++i) scores[i] = static_cast<float>(mix64(i) % levels);
      for (int64_t sinks : {0, 4, 77}) expect_least(scores, scrambled(n), sinks, 150);
      // Zeros of both signs are equal, and infinities are numbers.
      for (int i = 0; i < n; ++i) scores[i] = mix64(i) % 2 ? 0.0f : -0.0f;
      expect_least(scores, scrambled(n), 4, 150);
      std::fill(scores.begin(), scores.end(), std::numeric_limits<float>::infinity());
      expect_least(scores, scrambled(n), 4, 150);
    }
  });
}

TEST(EntryScores, NanIsTakenLast) {
  for_each_level([] {
    for (int n : {3, 40, 100}) {
      std::vector<float> scores(n, NAN);
      const std::vector<int32_t> positions = scrambled(n);
      expect_least(scores, positions, 0, n);
      expect_least(scores, positions, 2, n);
      scores[n / 2] = std::numeric_limits<float>::infinity();
      expect_least(scores, positions, 0, n);
      EXPECT_EQ(least_open(scores.data(), positions.data(), n, 0, n).slot, n / 2);
      for (int i = 0; i < n; i += 3) scores[i] = static_cast<float>(-i);
      expect_least(scores, positions, 1, n);
    }
  });
}

TEST(EntryScores, TakesLimitsBeyondAllPositions) {
  for_each_level([] {
    const std::vector<float> scores = random_floats(50, 8);
    expect_least(scores, scrambled(50), 0, int64_t{1} << 40);
    expect_least(scores, scrambled(50), -5, int64_t{1} << 31);
    expect_least(scores, scrambled(50), int64_t{1} << 40, int64_t{1} << 41);
    expect_least(scores, scrambled(50), 0, -7);
  });
}

}  // namespace
}  // namespace kvlab
