// Recipes of two phases, and what is asked of recipes as a whole, whether they have one phase or two.
#include <algorithm>

#include "base/error.h"
#include "cache/resolve.h"

namespace kvlab {

namespace {

MethodSpec resolve_value(const std::string& key, const std::string& text, const RecipeDefaults& defaults) {
  Recipe recipe = parse_recipe(text);
  const std::string owner = std::string(kTwoPhase) + ": " + key + "=" + text;
  if (recipe.parts.size() > 1)
    throw UserError(owner + ": a codec is the whole recipe's; write two_phase(...)+" + recipe.parts[1].name);
  if (same_name(recipe.parts[0].name, kTwoPhase))
    throw UserError(owner + ": two phases do not nest; give one method");
  return resolve_phase(std::move(recipe), defaults, key == "context" ? Phase::kContext : Phase::kDecode);
}

std::string shown(const MethodSpec& spec) {
  return spec.dense() ? "none" : spec.display;
}

}  // namespace

MethodSpec resolve_two_phase(const Recipe& recipe, const RecipeDefaults& defaults) {
  const RecipePart& part = recipe.parts.front();
  std::optional<MethodSpec> context, decode;
  for (const auto& [key, text] : part.arguments) {
    if (key != "context" && key != "decode") {
      const std::string near = nearest_name(key, {"context", "decode"});
      throw UserError(part.name + " has no parameter '" + key + "'" +
                      (near.empty() ? " (it takes context= and decode=)" : "; did you mean '" + near + "'?"));
    }
    (key == "context" ? context : decode) = resolve_value(key, text, defaults);
  }
  if (!context || !decode) {
    throw UserError(part.name + " needs '" + (context ? "decode" : "context") +
                    "=': two_phase(context=METHOD,decode=METHOD), where none compresses nothing");
  }
  for (const MethodSpec* phase : {&*context, &*decode}) {
    if (phase->uses(ScorerKind::kPlanned))
      throw UserError(part.name + ": " + phase->scorer->name +
                      " decides before a session runs what goes in it, and leaves no part of it to another");
  }
  // A session that nothing streams in is the context's method with at=context.
  MethodSpec spec = decode->dense() ? *context : *decode;
  if (!decode->dense()) spec.context = std::make_shared<const MethodSpec>(*context);
  for (size_t p = 1; p < recipe.parts.size(); ++p) add_codec(spec, recipe.parts[p]);
  spec.display = shown(*context) + " then " + shown(*decode);
  if (spec.codec) spec.display += "+" + spec.codec->name;
  spec.recipe = canonical(spec);
  return spec;
}

std::vector<const MethodSpec*> MethodSpec::phases() const {
  std::vector<const MethodSpec*> compressing;
  if (!dense()) compressing.push_back(this);
  if (context && !context->dense()) compressing.push_back(context.get());
  return compressing;
}

bool MethodSpec::lacks_model() const {
  const auto all = phases();
  return std::any_of(all.begin(), all.end(),
                     [](const MethodSpec* p) { return p->scorer->learned && p->model_path.empty(); });
}

bool MethodSpec::neutral() const {
  const auto all = phases();
  return std::all_of(all.begin(), all.end(), [](const MethodSpec* p) { return p->policy.neutral(); });
}

bool MethodSpec::recency() const {
  const auto all = phases();
  return std::all_of(all.begin(), all.end(), [](const MethodSpec* p) { return p->scorer->recency; });
}

bool MethodSpec::uses(ScorerKind kind) const {
  const auto all = phases();
  return std::any_of(all.begin(), all.end(), [&](const MethodSpec* p) { return p->scorer->kind == kind; });
}

int64_t MethodSpec::lasting_sinks() const {
  int64_t sinks = policy.sinks;
  for (const MethodSpec* phase : phases()) sinks = std::min(sinks, phase->policy.sinks);
  return sinks;
}

std::optional<uint64_t> MethodSpec::drawn_seed() const {
  std::optional<uint64_t> drawn;
  for (const MethodSpec* phase : phases()) {
    if (!phase->scorer->seeded) continue;
    if (!phase->seed_given) return phase->seed;
    if (!drawn) drawn = phase->seed;
  }
  return drawn;
}

MethodSpec with_seed(MethodSpec spec, uint64_t seed) {
  if (!spec.seed_given) spec.seed = seed;
  if (spec.context) spec.context = std::make_shared<const MethodSpec>(with_seed(*spec.context, seed));
  spec.recipe = canonical(spec);
  return spec;
}

}  // namespace kvlab
