// The parts of `kvlab compare --match` and `--controls`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/shared_every_method.h"
#include "evals/match.h"

namespace kvlab {

// "bytes_seen=0.5" as 0.5; throws UserError for anything else. "": none.
std::optional<double> parse_match(const std::string& text);

// What every method is measured by: oracles with the same budget in every head and with a
// budget spent unevenly, and two floors that look at no score. keep: their budget when
// nothing is matched.
std::vector<MethodSpec> control_methods(const RecipeDefaults& defaults, bool matched);

// Matches each method's budget, replacing its spec. The records are in the same order.
std::vector<std::optional<MatchRecord>> match_methods(const std::shared_ptr<const Model>& model,
                                                      std::vector<ChosenMethod>& methods,
                                                      const std::vector<TokenDocument>& slice,
                                                      const MatchOptions& options, Progress& progress);

}  // namespace kvlab
