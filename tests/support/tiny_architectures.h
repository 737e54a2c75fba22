// A tiny random model of every architecture, in memory: for tests that must hold whatever the model is.
#pragma once

#include <string>

#include "models/config.h"

namespace kvlab::testing {

// 3 layers, 2 KV heads, a vocabulary of 96; windows are short enough to act within some dozens of tokens.
// Matrices ~ N(0, 0.2), norms ~ N(1, 0.1), the same at every call. `name` is an architecture that is
// registered.
ModelFiles tiny_files(const std::string& name);

}  // namespace kvlab::testing
