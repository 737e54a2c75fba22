// What resolving one method and resolving two phases share. Internal to src/cache.
#pragma once

#include <string>

#include "cache/recipe.h"

namespace kvlab {

inline constexpr const char* kTwoPhase = "two_phase";

// Where a method stands: alone, or as context= or decode= of two phases, which fix when it acts.
enum class Phase { kOnly, kContext, kDecode };

// "StreamingLLM", "streaming-llm" and "streaming_llm" are one name.
bool same_name(const std::string& a, const std::string& b);
// The part with the given name, or null.
template <typename Info>
const Info* find_part(const std::vector<const Info*>& all, const std::string& name) {
  for (const Info* info : all) {
    if (same_name(info->name, name)) return info;
  }
  return nullptr;
}
// Puts what a name stands for in the place of the name; arguments written after the name replace its own.
// What is written as of= stands within all the wrappers of the name.
void expand_name(const NamedInfo& named, RecipePart& part);
// Takes the wrappers off a part, innermost first, and hands what they do not know to the part within: gives
// the scorer's part with all its arguments. Throws UserError.
RecipePart take_wrappers(RecipePart part, std::vector<WrapperSpec>& wrappers);
// What a scorer has around it although no recipe writes it.
void add_implied_wrappers(MethodSpec& spec);
// Throws UserError where the wrappers cannot stand around this scorer with this budget and schedule.
void check_wrappers(const MethodSpec& spec);
// The canonical part of a scorer within the wrappers that its recipe writes. `own` are the scorer's
// arguments, `shared` those of the whole: budget, protection, schedule.
RecipePart print_wrapped(const MethodSpec& spec, RecipePart own, RecipePart shared);
// A recipe whose first part is a scorer, a named recipe or none. Throws UserError like resolve_recipe().
MethodSpec resolve_phase(Recipe recipe, const RecipeDefaults& defaults, Phase phase);
// A recipe whose first part is two_phase(context=...,decode=...).
MethodSpec resolve_two_phase(const Recipe& recipe, const RecipeDefaults& defaults);
// Reads a part behind a '+'.
void add_codec(MethodSpec& spec, const RecipePart& part);
// The recipe with everything that decides the result written out.
std::string canonical(const MethodSpec& spec);

}  // namespace kvlab
