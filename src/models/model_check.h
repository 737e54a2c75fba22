// Checks of a model before its weights are loaded, whatever the file format.
#pragma once

#include <string>

#include "models/architecture.h"

namespace kvlab {

// Checks that the settings fit each other and the kernels: kv heads divide the heads, heads and rotary
// dimensions are even and not too large. Throws UserError naming `file` and the values.
void check_config(const ModelConfig& config, const std::string& file);

// Checks that every tensor is there with the shape that the settings ask for; throws UserError that lists
// what is missing or of another shape. A tensor of a layer that the architecture has no place for is refused
// too: without it the model would compute something else. Gives a note for tensors outside the layers that
// are not used.
std::vector<std::string> check_tensors(const ArchitectureInfo& architecture, const ModelConfig& config,
                                       const Weights& weights);

// "q4_1 (210 tensors), f32 (61 tensors)", the most frequent first.
std::string weight_types(const Weights& weights);

}  // namespace kvlab
