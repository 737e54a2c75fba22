// Rotary rotations averaged over positions: what becomes of a vector on average when its position is any of
// many.
#pragma once

#include <cstdint>
#include <vector>

namespace kvlab {

struct MeanRotation {
  std::vector<double> cos, sin;  // [pairs]: the means, each pair's factor on its rotated plane

  // x <- R x for a vector of at least 2 pairs values, `stride` apart (a row or column of a matrix); values
  // beyond the rotated ones stay.
  void apply(double* x, int64_t stride) const;
};

// The mean over positions first ... first + count - 1 of the rotations by these frequencies; count >= 1.
MeanRotation mean_rotation(const std::vector<double>& frequencies, int64_t first, int count);

}  // namespace kvlab
