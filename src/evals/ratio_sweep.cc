#include "evals/ratio_sweep.h"

#include <algorithm>
#include <cmath>

namespace kvlab {

namespace {

bool has_schedule(const Recipe& recipe) {
  const auto& arguments = recipe.parts[0].arguments;
  return std::any_of(arguments.begin(), arguments.end(), [](const auto& argument) {
    return argument.first == "every" || argument.first == "at";
  });
}

std::string at_context(const std::string& text) {
  Recipe recipe = parse_recipe(text);
  if (has_schedule(recipe)) return text;
  recipe.parts[0].arguments.emplace_back("at", "context");
  return print_recipe(recipe);
}

// 1 - 0.9 is not 0.1 in binary; what the user wrote is.
double rounded(double ratio) {
  return std::round(ratio * 1e9) / 1e9;
}

// Two phases have a ratio when both keep the same share.
std::optional<double> ratio_of(const MethodSpec& spec) {
  if (spec.dense()) return 0;
  for (const MethodSpec* phase : spec.phases()) {
    const Policy& policy = phase->policy;
    const bool by_ratio = policy.budget && policy.budget->name == "keep" && !policy.table;
    if (!by_ratio || policy.value != spec.policy.value) return std::nullopt;
  }
  return rounded(1 - spec.policy.value);
}

}  // namespace

std::vector<SweepMethod> sweep_ratios(const std::vector<std::string>& recipes, const SweepOptions& options) {
  std::vector<SweepMethod> methods;
  for (const std::string& written : recipes) {
    for (const double ratio : options.ratios) {
      RecipeDefaults defaults = options.defaults;
      defaults.keep = 1 - ratio;
      MethodSpec spec = resolve_recipe(written, defaults);
      if (spec.dense() && !spec.codec) break;
      if (options.prefill_only && !spec.dense() && !spec.needs_context())
        spec = resolve_recipe(at_context(written), defaults);
      const bool known = std::any_of(methods.begin(), methods.end(),
                                     [&](const SweepMethod& m) { return m.spec.recipe == spec.recipe; });
      if (!known) methods.push_back({written, ratio_of(spec), std::move(spec)});
    }
  }
  return methods;
}

}  // namespace kvlab
