// Whether a model will fit, in words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/dtype.h"

namespace kvlab {

// What to say when `needed` bytes of weights are more than `available` ones; 0 available: not known.
std::optional<std::string> memory_warning(int64_t needed, int64_t available, DType type);

}  // namespace kvlab
