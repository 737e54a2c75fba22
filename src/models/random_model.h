// A model of given settings with random weights: speed and memory do not depend on what a model has learned.
#pragma once

#include <cstdint>

#include "models/config.h"

namespace kvlab {

// Tensors are made when they are read, so nothing lies in memory but what the model packs. Matrices [out][in]
// are uniform in +-1 / sqrt(in), norms multiply by one, biases are uniform in +-0.01: functions of the seed,
// the tensor and the place in it. Throws UserError for an unknown architecture.
ModelFiles random_model(const ModelConfig& config, uint64_t seed);

}  // namespace kvlab
