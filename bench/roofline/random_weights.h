// Models of a given shape with random weights: speed does not depend on what a model has learned.
#pragma once

#include <string>
#include <vector>

#include "models/config.h"

namespace kvlab::roofline {

// out[i]: uniform in [-scale, scale], a function of the seed and of first + i alone.
void fill_uniform(uint32_t seed, uint64_t first, int64_t count, float scale, float* out);
std::vector<float> uniform_floats(uint32_t seed, size_t count, float scale);

// "llama-3.1-8b", ... Throws UserError naming the shapes known. `layers` <= 0: as many as the model has.
ModelConfig shape_config(const std::string& name, int layers);
std::vector<std::string> shape_names();

// Tensors are made when they are read, uniform and scaled by 1 / sqrt(in); norms are ones.
ModelFiles random_model(const ModelConfig& config);

}  // namespace kvlab::roofline
