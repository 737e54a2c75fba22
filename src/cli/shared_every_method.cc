#include "cli/shared_every_method.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

namespace {

// The scorer behind a name: its own, that of a named recipe, or what a wrapper stands around.
const ScorerInfo* scorer_of(const std::string& name) {
  for (const ScorerInfo* info : registry_scorers()) {
    if (info->name == name) return info;
  }
  for (const WrapperInfo* info : registry_wrappers()) {
    if (info->name == name) return scorer_of(parse_recipe(info->of).parts[0].name);
  }
  for (const NamedInfo* info : registry_named()) {
    if (info->name == name) return scorer_of(parse_recipe(info->recipe).parts[0].name);
  }
  return nullptr;
}

// A row for what cannot even be resolved: it has a name to be reported by, and never runs.
MethodSpec unresolved(const std::string& name) {
  MethodSpec spec;
  spec.display = spec.recipe = name;
  spec.scorer = scorer_of(name);
  KVLAB_CHECK(spec.scorer);
  return spec;
}

}  // namespace

std::vector<std::string> every_name() {
  std::vector<std::string> names;
  // Another kind of part that can stand alone as a method is added here.
  for (const ScorerInfo* info : registry_scorers()) {
    if (info->form_of.empty()) names.push_back(info->name);
  }
  for (const WrapperInfo* info : registry_wrappers()) names.push_back(info->name);
  for (const NamedInfo* info : registry_named()) names.push_back(info->name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<ChosenMethod> every_method(const RecipeDefaults& defaults,
                                       const std::vector<std::string>& left_out) {
  const std::vector<std::string> names = every_name();
  const auto among = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const std::string& name : left_out) {
    if (among(names, name)) continue;
    const std::string near = nearest_name(name, names);
    throw UserError("--leave_out '" + name + "' is no method of 'all'" +
                    (near.empty() ? " (`kvlab list` shows them)" : "; did you mean '" + near + "'?"));
  }
  std::vector<ChosenMethod> methods;
  for (const std::string& name : names) {
    if (among(left_out, name)) continue;
    try {
      methods.push_back({resolve_recipe(name, defaults), true});
    } catch (const UserError& error) {
      methods.push_back({unresolved(name), true, false, error.what()});
    }
  }
  return methods;
}

}  // namespace kvlab
