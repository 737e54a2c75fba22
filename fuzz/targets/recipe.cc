// Recipes: what is printed parses to the same tree, and what is resolved resolves to itself.
#include "cache/recipe.h"

#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

namespace {

bool same(const Recipe& a, const Recipe& b) {
  if (a.parts.size() != b.parts.size()) return false;
  for (size_t i = 0; i < a.parts.size(); ++i) {
    if (a.parts[i].name != b.parts[i].name || a.parts[i].arguments != b.parts[i].arguments) return false;
  }
  return true;
}

void parse_and_resolve(const std::string& text) {
  answers("", [&] {
    const Recipe recipe = parse_recipe(text);
    const std::string printed = print_recipe(recipe);
    bool parses = false;
    if (answers("", [&] { parses = same(parse_recipe(printed), recipe); })) {
      require(parses, "printed as another recipe: " + printed);
    } else {
      require(false, "printed as what does not parse: " + printed);
    }
  });
  answers("", [&] {
    const MethodSpec spec = resolve_recipe(text, {});
    MethodSpec again;
    const bool resolves = answers("", [&] { again = resolve_recipe(spec.recipe, {}); });
    require(resolves, "the canonical recipe does not resolve: " + spec.recipe);
    require(again.recipe == spec.recipe, "canonical " + spec.recipe + " resolves to " + again.recipe);
  });
}

}  // namespace

void fuzz_recipe(Input input) {
  const std::string text(text_of(input));
  parse_and_resolve(text);
  answers("", [&] {
    for (const std::string& one : split_recipes(text)) {
      require(split_recipes(one) == std::vector<std::string>{one}, "cut twice: " + one);
      parse_and_resolve(one);
    }
  });
}

}  // namespace kvlab::fuzz
