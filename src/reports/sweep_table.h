// One method at several thresholds: its table and its plots.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "reports/line_plot.h"
#include "reports/table.h"
#include "results/record.h"
#include "results/summary.h"

namespace kvlab {

struct SweepRow {
  double threshold = 0;
  Status status = Status::kOk;
  MethodSummary summary;
};

struct ThresholdSweep {
  std::string subtitle;  // model and data, of the plots
  MethodSummary baseline;
  std::vector<SweepRow> rows;  // thresholds ascending
};

// The rows of `result` whose canonical recipes are given with their thresholds.
ThresholdSweep threshold_sweep(const ComparisonResult& result,
                               const std::vector<std::pair<std::string, double>>& thresholds);

// For a terminal of `width` columns (0: no limit), as Markdown, or as CSV with all digits.
std::string render_sweep(const ThresholdSweep& sweep, TableFormat format, int width);

// ΔNLL with 95 % bars against the density that was seen, and against the threshold. Empty when no row has a
// ΔNLL.
std::vector<LinePlot> sweep_plots(const ThresholdSweep& sweep);

}  // namespace kvlab
