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
// A recipe whose first part is a scorer, a named recipe or none. Throws UserError like resolve_recipe().
MethodSpec resolve_phase(Recipe recipe, const RecipeDefaults& defaults, Phase phase);
// A recipe whose first part is two_phase(context=...,decode=...).
MethodSpec resolve_two_phase(const Recipe& recipe, const RecipeDefaults& defaults);
// Reads a part behind a '+'.
void add_codec(MethodSpec& spec, const RecipePart& part);
// The recipe with everything that decides the result written out.
std::string canonical(const MethodSpec& spec);

}  // namespace kvlab
