// Recipes: the text form of a method. Grammar:
//   recipe := part ('+' part)*        part := name ['(' key=value (',' key=value)* ')']
// A value is a number, a name, a part, or a "quoted string"; separators inside parentheses or quotes do not
// split. two_phase(context=part,decode=part) has one method act at the end of the context and another from
// there on. Parsing gives a tree; resolving it against the registered parts and the run's defaults gives a
// MethodSpec.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/budget.h"
#include "cache/codec.h"
#include "cache/policy.h"
#include "cache/scorer.h"
#include "cache/wrapper.h"

namespace kvlab {

struct RecipePart {
  std::string name;
  std::vector<std::pair<std::string, std::string>> arguments;  // in the order written; quotes taken off
  bool parentheses = false;
};

struct Recipe {
  std::vector<RecipePart> parts;
};

// Throws UserError with the column and what was expected.
Recipe parse_recipe(std::string_view text);
std::string print_recipe(const Recipe& recipe);
// Cuts a list of recipes at blanks and commas outside parentheses and quotes. Throws UserError when they do
// not balance.
std::vector<std::string> split_recipes(std::string_view text);

// A named recipe: one file of src/methods/named that defines `const NamedInfo kNamedInfo_<file name>`.
struct NamedInfo {
  std::string name;
  std::string title;
  std::string paper;
  std::string summary;
  std::string recipe;
};
const std::vector<const NamedInfo*>& registry_named();

// The parameters that every scorer takes beside its own and its budget: sinks, window, every, at, seed, ...
const FieldList& shared_recipe_fields();

// What a run says for recipes that leave it open.
struct RecipeDefaults {
  double keep = 0.5;                      // 1 - compression_ratio, for names without a budget
  std::optional<double> kvzap_threshold;  // --threshold
  std::optional<int64_t> sinks, window;   // --sinks, --sliding_window_size when given
  std::optional<int64_t> every;           // --chunk_size when given; else 1, and 128 for periodic scorers
  uint64_t seed = 0;                      // --seed
  std::string scorer_model;               // --kvzap_scorer_model
  // --thresholds and --densities: budget by scorer name, for recipes without a budget of their own.
  std::vector<std::pair<std::string, double>> thresholds, densities;
};

// A wrapper around a method's scorer with its parameters.
struct WrapperSpec {
  const WrapperInfo* info = nullptr;
  Values values;
  bool implied = false;  // comes with the scorer, not from the recipe
};

// A method with everything decided but the model.
struct MethodSpec {
  std::string display;                 // "StreamingLLM", "Random(threshold=1.0)"
  std::string recipe;                  // canonical text; resolving it again gives the same spec
  const ScorerInfo* scorer = nullptr;  // null: no compression
  std::vector<WrapperSpec> wrappers;   // around the scorer, the innermost first
  Values values;
  uint64_t seed = 0;
  bool seed_given = false;
  std::string model_path;
  Policy policy;
  const CodecInfo* codec = nullptr;  // null: the run's cache type
  // Of two_phase(context=...,decode=...): what acts once, at the end of the context, and may be dense. All
  // else is then said of the method that streams from there on. Null: one phase.
  std::shared_ptr<const MethodSpec> context;

  bool dense() const { return scorer == nullptr; }
  // What holds for the whole of the recipe, one phase or two:
  std::vector<const MethodSpec*> phases() const;  // that compress; the one that acts last comes first
  bool needs_context() const { return policy.at_context || context; }
  bool lacks_model() const;                    // a learned scorer of which nobody says where it is
  bool neutral() const;                        // nothing can ever be evicted
  bool recency() const;                        // scores by position alone
  bool uses(ScorerKind kind) const;            // has a scorer of this kind
  int64_t lasting_sinks() const;               // first tokens that no phase evicts
  std::optional<uint64_t> drawn_seed() const;  // of random scores; one that the recipe leaves open first
};

// Throws UserError: unknown name (with the nearest one), unknown parameter, value out of range, two budgets,
// a threshold for a scorer that refuses it, a size below sinks + window.
MethodSpec resolve_recipe(const std::string& text, const RecipeDefaults& defaults);

// The same method drawing from `seed` where its recipe names none.
MethodSpec with_seed(MethodSpec spec, uint64_t seed);

// "none", "no_press" and "baseline" spell the method that compresses nothing.
MethodSpec no_compression();

}  // namespace kvlab
