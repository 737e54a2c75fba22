// Methods × compression ratios as a list of rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cache/recipe.h"

namespace kvlab {

struct SweepMethod {
  std::string written;          // as the user wrote it: "knorm"
  std::optional<double> ratio;  // fraction evicted; none: a budget that is no fraction of the tokens
  MethodSpec spec;
};

struct SweepOptions {
  std::vector<double> ratios = {0.5};  // for recipes without a budget of their own
  bool prefill_only = false;           // recipes without a schedule act at the end of the context
  RecipeDefaults defaults;             // its keep is not used
};

// Every recipe at every ratio, a recipe with a budget of its own once. Recipes that compress nothing are left
// out: the baseline is there anyway. Throws UserError like resolve_recipe().
std::vector<SweepMethod> sweep_ratios(const std::vector<std::string>& recipes, const SweepOptions& options);

}  // namespace kvlab
