// Rotary position embedding (Su et al., RoFormer, arXiv:2104.09864): inverse frequencies, with Llama 3.1's
// frequency scaling.
#pragma once

#include <vector>

#include "format/weights.h"

namespace kvlab {

// Inverse frequencies of the dims/2 pairs.
std::vector<double> rotary_frequencies(const RotarySettings& settings);

}  // namespace kvlab
