// How sure the differences of a perplexity run are: of a row from the baseline, and of two ratios of a
// method.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/perplexity_record.h"
#include "results/statistics.h"

namespace kvlab {

struct WindowIntervals {
  Inference delta_nll;
  // "t over 12 documents", "t over 16 windows of 1 document" or "block bootstrap within these documents"
  std::string method;
};

// The interval of a row's ΔNLL, paired by token. Ten documents or more are a sample of documents; else ten
// windows or more are a sample of windows of these documents; else the blocks of each document are drawn
// again, as row_statistics.h does for a comparison. Null for the baseline, for rows without a ΔNLL, and for
// too little data. Several seeds are averaged first.
std::optional<WindowIntervals> window_intervals(const PerplexityRow& row);

// What a method's ΔNLL gains from one ratio to a higher one, on the same tokens.
struct RatioStep {
  std::string method, name;
  double from = 0, to = 0;
  double delta_nll = 0;  // ΔNLL(to) - ΔNLL(from)
  std::optional<WindowIntervals> interval;
};

// Between neighbouring ratios of each method, ascending, and from 0.5 to 0.9 where both are there. Rows
// without a ΔNLL are left out.
std::vector<RatioStep> ratio_steps(const PerplexityResult& result);

// 95 % interval of the seconds a row's windows took together: t over the windows, whose seconds per token
// vary. Null for fewer than three windows. It knows nothing of what else the machine did meanwhile.
std::optional<Interval> runtime_interval(const PerplexityRow& row);

}  // namespace kvlab
