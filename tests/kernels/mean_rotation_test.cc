// Averaged rotations against the average of single ones.
#include "kernels/mean_rotation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace kvlab {
namespace {

TEST(MeanRotation, IsTheAverageOverPositions) {
  const std::vector<double> frequencies = {1.0, 0.1, 1e-9, 0.0};  // 0: a pair that does not turn
  for (const auto& [first, count] : {std::pair<int64_t, int>{0, 1}, {37, 512}, {100000, 7}}) {
    const MeanRotation mean = mean_rotation(frequencies, first, count);
    for (size_t i = 0; i < frequencies.size(); ++i) {
      double cos = 0, sin = 0;
      for (int64_t p = first; p < first + count; ++p) {
        cos += std::cos(static_cast<double>(p) * frequencies[i]) / count;
        sin += std::sin(static_cast<double>(p) * frequencies[i]) / count;
      }
      EXPECT_NEAR(mean.cos[i], cos, 1e-9) << first << " " << count << " " << i;
      EXPECT_NEAR(mean.sin[i], sin, 1e-9) << first << " " << count << " " << i;
    }
  }
}

TEST(MeanRotation, TurnsPairsHalfAVectorApartAndLeavesTheRest) {
  const MeanRotation quarter{{0.0, 1.0}, {1.0, 0.0}};  // pair 0 by 90 degrees, pair 1 not at all
  std::vector<double> x = {1,  -1, 2,  -1, 3,
                           -1, 4,  -1, 5,  -1};  // every second value belongs to another vector
  quarter.apply(x.data(), 2);
  EXPECT_EQ(x, (std::vector<double>{-3, -1, 2, -1, 1, -1, 4, -1, 5, -1}));
}

}  // namespace
}  // namespace kvlab
