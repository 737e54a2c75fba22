// Perplexity of several methods on the same windows, one after the other in one warm process, each from a
// fresh state, against the uncompressed baseline.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/progress.h"
#include "evals/ratio_sweep.h"
#include "evals/seeds.h"
#include "evals/windows.h"
#include "results/perplexity_record.h"

namespace kvlab {

struct PerplexityOptions {
  RunOptions run;                // its protocol is that of the windows: session_protocol()
  int seeds = kSeeds;            // of rows that draw random numbers and name no seed
  bool repeat_baseline = false;  // a second row that must be equal to the last bit
  double setup_seconds = 0;      // spent before, for the rows' totals
  std::vector<TrainedOnThis>
      trained_on_this;  // of the methods given, in their order; empty: nothing is known
};

// Rows run one after the other: an interrupt (base/progress.h) keeps those that are finished. `row_done` is
// called after each. A row that cannot run is SKIPPED or FAILED with the reason; a row none of whose scored
// tokens saw a compressed cache is INERT and has no ΔPPL. Gives the rows; config and environment are the
// caller's.
PerplexityResult measure_perplexity(const std::shared_ptr<const Model>& model,
                                    const std::vector<SweepMethod>& methods,
                                    const std::vector<Window>& windows, const PerplexityOptions& options,
                                    Progress& progress,
                                    const std::function<void(const PerplexityRow&)>& row_done);

}  // namespace kvlab
