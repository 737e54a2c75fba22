// Rotary position embedding (Su et al., RoFormer, arXiv:2104.09864): inverse frequencies under the scalings
// of RotarySettings::Kind.
#pragma once

#include "kernels/rotary_table.h"
#include "models/config.h"

namespace kvlab {

// Inverse frequencies of the dims/2 pairs.
RotaryFrequencies rotary_frequencies(const RotarySettings& settings);

}  // namespace kvlab
