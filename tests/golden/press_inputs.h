// Files that some recipes of tests/goldens/presses.json need, by the formulas of
// tools/goldens/press_inputs.py.
#pragma once

#include <string>

#include "cache/scorer.h"
#include "support/temp_folder.h"

namespace kvlab::testing {

// The recipe with every @name replaced by the path of that file, which is written into `folder`.
std::string with_inputs(const std::string& recipe, const TempFolder& folder, const ModelShape& shape,
                        uint64_t seed);

}  // namespace kvlab::testing
