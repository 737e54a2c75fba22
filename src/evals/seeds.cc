#include "evals/seeds.h"

#include <string>

namespace kvlab {

namespace {

MethodSpec with_seed(const MethodSpec& spec, uint64_t seed) {
  Recipe recipe = parse_recipe(spec.recipe);
  for (auto& [key, value] : recipe.parts[0].arguments) {
    if (key == "seed") value = std::to_string(seed);
  }
  MethodSpec seeded = resolve_recipe(print_recipe(recipe), {});
  seeded.display = spec.display;
  return seeded;
}

// Seeds only matter where chance decides: not when a threshold of 1 or more evicts everything.
bool wants_seeds(const MethodSpec& spec) {
  return !spec.dense() && spec.scorer->seeded && !spec.seed_given && !spec.policy.neutral() &&
         !(spec.policy.threshold() && spec.policy.value >= 1);
}

}  // namespace

std::vector<MethodSpec> seed_runs(const MethodSpec& spec, int seeds) {
  if (seeds <= 1 || !wants_seeds(spec)) return {spec};
  std::vector<MethodSpec> runs;
  for (int s = 0; s < seeds; ++s) runs.push_back(with_seed(spec, spec.seed + static_cast<uint64_t>(s)));
  return runs;
}

}  // namespace kvlab
