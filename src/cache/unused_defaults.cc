#include "cache/unused_defaults.h"

#include <algorithm>

namespace kvlab {

namespace {

// Why no method of this scorer took the budget; "" when one did.
std::string why_unused(const std::vector<MethodSpec>& specs, const std::string& scorer,
                       const std::string& budget, double value) {
  bool there = false;
  for (const MethodSpec& spec : specs) {
    for (const MethodSpec* phase : spec.phases()) {
      if (phase->scorer->name != scorer) continue;
      there = true;
      const BudgetInfo* own = phase->policy.budget;
      if (own && own->name == budget && phase->policy.value == value) return "";
    }
  }
  return there ? "every " + scorer + " among the methods has another budget"
               : "no " + scorer + " is among the methods";
}

}  // namespace

std::vector<std::string> unused_defaults(const std::vector<MethodSpec>& specs,
                                         const RecipeDefaults& defaults) {
  std::vector<std::string> lines;
  const auto check = [&](const std::string& flag, const std::string& scorer, const std::string& budget,
                         double value) {
    const std::string why = why_unused(specs, scorer, budget, value);
    if (!why.empty()) lines.push_back(flag + " " + to_text(value) + " has no effect: " + why);
  };
  if (defaults.kvzap_threshold) check("--threshold", "kvzap", "threshold", *defaults.kvzap_threshold);
  for (const auto& [scorer, value] : defaults.thresholds)
    check("--thresholds: " + scorer, scorer, "threshold", value);
  for (const auto& [scorer, value] : defaults.densities)
    check("--densities: " + scorer, scorer, "free_density", value);
  const bool model_used = std::any_of(specs.begin(), specs.end(), [&](const MethodSpec& spec) {
    return spec.model_path == defaults.scorer_model;
  });
  if (!defaults.scorer_model.empty() && !model_used) {
    lines.push_back("--kvzap_scorer_model " + defaults.scorer_model +
                    " has no effect: no method among those given takes it");
  }
  return lines;
}

}  // namespace kvlab
