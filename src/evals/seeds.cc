#include "evals/seeds.h"

#include <algorithm>

namespace kvlab {

namespace {

// Seeds only matter where chance decides: not when a threshold of 1 or more evicts everything.
bool wants_seeds(const MethodSpec& spec) {
  const auto phases = spec.phases();
  return std::any_of(phases.begin(), phases.end(), [](const MethodSpec* phase) {
    return phase->scorer->seeded && !phase->seed_given && !phase->policy.neutral() &&
           !(phase->policy.threshold() && phase->policy.value >= 1);
  });
}

}  // namespace

std::vector<MethodSpec> seed_runs(const MethodSpec& spec, int seeds) {
  if (seeds <= 1 || !wants_seeds(spec)) return {spec};
  std::vector<MethodSpec> runs;
  for (int s = 0; s < seeds; ++s)
    runs.push_back(with_seed(spec, *spec.drawn_seed() + static_cast<uint64_t>(s)));
  return runs;
}

}  // namespace kvlab
