// The tensors of a GGUF file under the names, and with the rows in the order, of Hugging Face checkpoints.
#pragma once

#include <memory>

#include "models/architecture.h"

namespace kvlab {

// Rotary divisors; they are in the settings, not among the tensors.
constexpr const char* kRopeDivisors = "rope_freqs.weight";

// Throws UserError when two tensors get one name.
std::shared_ptr<const Weights> open_gguf_weights(std::shared_ptr<const GgufFile> file,
                                                 const GgufLayout& layout, const ModelConfig& config);

}  // namespace kvlab
