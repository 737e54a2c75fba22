// The wrappers of a recipe: from nested of= parts to a list, and back to text.
#include <algorithm>

#include "base/error.h"
#include "cache/resolve.h"

namespace kvlab {

namespace {

// The part that `part` stands around, with the arguments that are not the wrapper's own.
RecipePart inner_part(const WrapperInfo& wrapper, const RecipePart& part, Values& values) {
  std::string of = wrapper.of;
  std::vector<std::pair<std::string, std::string>> rest;
  for (const auto& [key, text] : part.arguments) {
    if (key == "of") {
      of = text;
    } else if (const Field* own = find_field(wrapper.fields, key)) {
      values.set(key, own->parse(text, part.name));
    } else {
      rest.emplace_back(key, text);
    }
  }
  Recipe recipe = parse_recipe(of);
  const std::string owner = part.name + ": of=" + of;
  if (recipe.parts.size() > 1)
    throw UserError(owner + ": a codec is the whole recipe's; write " + part.name + "(...)+" +
                    recipe.parts[1].name);
  RecipePart inner = std::move(recipe.parts.front());
  if (same_name(inner.name, kTwoPhase))
    throw UserError(owner + ": two phases cannot be wrapped; wrap the method of a phase");
  if (inner.name == "none" || find_part(registry_codecs(), inner.name))
    throw UserError(owner + " evicts nothing that could be wrapped; give a scorer (`kvlab list` shows all)");
  for (auto& argument : rest) {
    const auto same = [&](const auto& known) { return known.first == argument.first; };
    if (std::any_of(inner.arguments.begin(), inner.arguments.end(), same))
      throw UserError(part.name + ": '" + argument.first + "' is given twice, here and in of=" + of);
    inner.arguments.push_back(std::move(argument));
  }
  return inner;
}

std::string attention_scorers() {
  std::string names;
  for (const ScorerInfo* scorer : registry_scorers()) {
    if (scorer->attention) names += (names.empty() ? "" : ", ") + scorer->name;
  }
  return names;
}

// `of` in the place of what the innermost wrapper of `outer` stands around: adakv and knorm give
// adakv(of=knorm). A part without wrappers is replaced.
std::string around(const std::string& outer, const std::string& of) {
  Recipe recipe = parse_recipe(outer);
  RecipePart& part = recipe.parts.front();
  if (!find_part(registry_wrappers(), part.name)) return of;
  for (auto& [key, value] : part.arguments) {
    if (key != "of") continue;
    value = around(value, of);
    return print_recipe(recipe);
  }
  part.arguments.emplace_back("of", of);
  part.parentheses = true;
  return print_recipe(recipe);
}

}  // namespace

void expand_name(const NamedInfo& named, RecipePart& part) {
  Recipe expanded = parse_recipe(named.recipe);
  auto& arguments = expanded.parts[0].arguments;
  for (const auto& [key, value] : part.arguments) {
    const auto same = std::find_if(arguments.begin(), arguments.end(),
                                   [&key = key](const auto& a) { return a.first == key; });
    if (same != arguments.end()) {
      same->second = key == "of" ? around(same->second, value) : value;
    } else {
      arguments.emplace_back(key, value);
    }
  }
  part = std::move(expanded.parts[0]);
}

RecipePart take_wrappers(RecipePart part, std::vector<WrapperSpec>& wrappers) {
  while (true) {
    if (const NamedInfo* named = find_part(registry_named(), part.name)) expand_name(*named, part);
    const WrapperInfo* info = find_part(registry_wrappers(), part.name);
    if (!info) break;
    WrapperSpec wrapper{info, Values(info->fields), false};
    part = inner_part(*info, part, wrapper.values);
    wrappers.insert(wrappers.begin(), std::move(wrapper));
  }
  return part;
}

void add_implied_wrappers(MethodSpec& spec) {
  if (!spec.scorer->implied) return;
  const std::string text = spec.scorer->implied(spec.values);
  if (text.empty()) return;
  const RecipePart part = parse_recipe(text).parts.front();
  const WrapperInfo* info = find_part(registry_wrappers(), part.name);
  KVLAB_CHECK(info);
  WrapperSpec wrapper{info, Values(info->fields), true};
  for (const auto& [key, value] : part.arguments)
    wrapper.values.set(key, find_field(info->fields, key)->parse(value, info->name));
  spec.wrappers.insert(spec.wrappers.begin(), std::move(wrapper));
}

void check_wrappers(const MethodSpec& spec) {
  int spreading = 0;
  const WrapperInfo* renumbering = nullptr;
  for (const WrapperSpec& wrapper : spec.wrappers) {
    const WrapperInfo& info = *wrapper.info;
    if (!spec.scorer->no_budget.empty() || spec.scorer->kind == ScorerKind::kPlanned)
      throw UserError(info.name + ": " + spec.scorer->name + " says itself what goes; it cannot be wrapped");
    if (spec.policy.threshold() && !info.no_threshold.empty())
      throw UserError(info.name + " takes no threshold: " + info.no_threshold +
                      "; give keep, size, bytes or free_density");
    if (!spec.policy.at_context && !info.context_only.empty())
      throw UserError(info.name + " acts at the end of a context only (" + info.context_only +
                      "); write at=context");
    if (info.compares_heads && !spec.policy.at_context && !spec.scorer->no_comparison.empty())
      throw UserError(info.name + "(of=" + spec.scorer->name +
                      "): scores of different heads cannot be compared, " + spec.scorer->no_comparison +
                      "; take another scorer, or at=context as kvpress does");
    if (info.of_attention && !spec.scorer->attention)
      throw UserError(info.name + "(of=" + spec.scorer->name + "): the scores of " + spec.scorer->name +
                      " are not attention weights, which " + info.name + " draws by; take one of " +
                      attention_scorers());
    const auto made = info.create(wrapper.values);
    spreading += made->spreads();
    if (renumbering && made->revises())
      throw UserError(info.name + "(of=" + renumbering->name +
                      "(...)): entries that go keep their old positions; write " + renumbering->name +
                      "(of=" + info.name + "(...))");
    if (made->renumbers()) renumbering = &info;
  }
  if (spreading > 1) throw UserError("two wrappers share the budget out over the layers; give one of them");
  if (spreading && spec.policy.table)
    throw UserError("budget= and layers= already say what each layer gets; leave them out, or the wrapper");
}

RecipePart print_wrapped(const MethodSpec& spec, RecipePart own, RecipePart shared) {
  for (const WrapperSpec& wrapper : spec.wrappers) {
    if (wrapper.implied) continue;
    RecipePart outer{wrapper.info->name, {}, true};
    outer.arguments.emplace_back("of", print_recipe({{own}}));
    for (const Field& field : wrapper.info->fields) {
      if (!wrapper.values.given(field.name)) continue;
      std::string text = to_text(wrapper.values.all().at(field.name));
      if (text.size() >= 2 && text.front() == '"') text = text.substr(1, text.size() - 2);
      outer.arguments.emplace_back(field.name, std::move(text));
    }
    own = std::move(outer);
  }
  own.arguments.insert(
      own.arguments.begin() + (own.arguments.empty() || own.arguments[0].first != "of" ? 0 : 1),
      shared.arguments.begin(), shared.arguments.end());
  own.parentheses = own.parentheses || !own.arguments.empty();
  return own;
}

}  // namespace kvlab
