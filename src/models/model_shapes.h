// Shapes of well-known models by name: what their config.json says, without their weights.
#pragma once

#include <string>

#include "models/config.h"

namespace kvlab {

// "llama-3.1-8b, llama-3.2-1b, ...", in alphabetical order.
std::string model_shape_names();

// The settings of a whole model of that shape. Throws UserError naming the shapes known.
ModelConfig model_shape(const std::string& name);

// The same model with its first `layers` layers only. Throws UserError when it has fewer, or for 0.
ModelConfig first_layers(ModelConfig config, int64_t layers);

}  // namespace kvlab
