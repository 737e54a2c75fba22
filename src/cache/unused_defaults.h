// A run's flags that none of its methods took: given, they look as if they had decided something.
#pragma once

#include <string>
#include <vector>

#include "cache/recipe.h"

namespace kvlab {

// One line for each of --threshold, --thresholds, --densities and --kvzap_scorer_model, as far as `defaults`
// has them, that reached no spec, with the reason.
std::vector<std::string> unused_defaults(const std::vector<MethodSpec>& specs,
                                         const RecipeDefaults& defaults);

}  // namespace kvlab
