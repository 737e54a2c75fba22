// What `kvlab compare` finds out about its rows before it runs them: which cannot run, and which were fitted
// on the text that they are compared on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/shared_every_method.h"
#include "evals/compare.h"
#include "evals/contamination.h"
#include "format/trained_on.h"

namespace kvlab {

// Makes every method once, so that what cannot run is said before any work: throws UserError for one that was
// named, and puts the reason into `skip` of one that came with --methods all. Gives those that can.
std::vector<std::shared_ptr<const Method>> check_methods(std::vector<ChosenMethod>& methods,
                                                         const ModelShape& shape);

// The record of documents that something was found on: budgets matched, or measured.
TrainedOn record_of(const std::vector<TokenDocument>& documents, int64_t vocabulary);

// In the folder of a run with --match.
inline constexpr const char* kMatchedOnFile = "matched_on.json";

// The record that --matched_on names: matched_on.json in a folder, or a file; "": none.
std::optional<TrainedOn> read_matched_on(const std::string& path);

// Facts of the rows, in their order. `matches`: empty, or one for each row. `slice`: what budgets were
// matched on; `matched_on`: what an earlier run's values, now written in recipes, were matched on. Null:
// nothing.
std::vector<RowFacts> row_facts(const std::vector<ChosenMethod>& methods,
                                const std::vector<std::optional<MatchRecord>>& matches,
                                const TrainedOn* slice, const TrainedOn* matched_on,
                                Contamination& contamination);

}  // namespace kvlab
