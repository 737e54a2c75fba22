// Rotary position embedding tables (Su et al., RoFormer, arXiv:2104.09864), with Llama 3.1's frequency
// scaling.
#pragma once

#include <cstdint>
#include <vector>

#include "format/weights.h"

namespace kvlab {

// Inverse frequencies of the dims/2 pairs.
std::vector<double> rotary_frequencies(const RotarySettings& settings);

// cos and sin of positions first, first + 1, ...: [rows][pairs].
struct RotaryTable {
  RotaryTable(const std::vector<double>& frequencies, int64_t first, int rows);
  const float* cos_row(int row) const { return cos.data() + static_cast<size_t>(row) * pairs; }
  const float* sin_row(int row) const { return sin.data() + static_cast<size_t>(row) * pairs; }
  int pairs;
  std::vector<float> cos, sin;
};

}  // namespace kvlab
