// The runs of a row that draws random numbers: one per seed.
#pragma once

#include <vector>

#include "cache/recipe.h"

namespace kvlab {

constexpr int kSeeds = 5;  // of rows that draw random numbers and name no seed

// `spec` with the seeds s ... s + seeds - 1, where s is its own; `spec` alone where chance decides nothing or
// the recipe names its seed. Every one has the display name of `spec`.
std::vector<MethodSpec> seed_runs(const MethodSpec& spec, int seeds);

}  // namespace kvlab
