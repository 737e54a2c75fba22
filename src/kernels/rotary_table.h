// cos and sin of rotary positions, and rotation undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvlab {

// cos and sin of positions first, first + 1, ...: [rows][pairs], for inverse frequencies of `pairs` pairs.
struct RotaryTable {
  RotaryTable(const std::vector<double>& frequencies, int64_t first, int rows);
  const float* cos_row(int row) const { return cos.data() + static_cast<size_t>(row) * pairs; }
  const float* sin_row(int row) const { return sin.data() + static_cast<size_t>(row) * pairs; }
  int pairs;
  std::vector<float> cos, sin;
};

// Undoes rotate_half_split on one head vector: x has head_dim values, of which the first 2 pairs are rotated.
void unrotate_half_split(const float* x, const float* cos, const float* sin, int pairs, int head_dim,
                         double* out);

}  // namespace kvlab
