// Equal budgets: finds the value of a method's budget (keep, size, free density, threshold) at which its
// queries see a given fraction of what dense attention sees, on a calibration slice.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "cache/recipe.h"
#include "evals/document_run.h"
#include "results/record.h"

namespace kvlab {

struct MatchOptions {
  double target = 0.5;      // density_seen wanted: bytes of keys and values seen, of the dense cache's
  double tolerance = 0.01;  // relative
  RunOptions run;
};

struct MatchedMethod {
  MethodSpec spec;  // with the value found; as it was when nothing was
  MatchRecord record;
};

// Searches with runs on `slice`. Budgets that bound a number of entries need one run, which checks what their
// schedule says; thresholds need a dozen. A method whose protection alone shows more than the target is
// infeasible, one without a budget to move stays as it is; the record says so. Ends early, with a meaningless
// result, when stop_requested().
MatchedMethod match_budget(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                           const std::vector<TokenDocument>& slice, const MatchOptions& options,
                           Progress& progress);

// density_seen of a policy that holds as many entries as its limit allows (a threshold: none but the
// protected) over the scored queries of these documents. No model is run.
double scheduled_seen(const Policy& policy, const std::vector<TokenDocument>& documents,
                      const Protocol& protocol);

struct CalibrationSplit {
  std::vector<TokenDocument> slice, rest;
};
// The first `count` documents (0: an eighth, at least one) are the slice. A single document is cut in two
// halves. Throws UserError when nothing would be left to compare on.
CalibrationSplit split_for_calibration(std::vector<TokenDocument> documents, int64_t count);

}  // namespace kvlab
