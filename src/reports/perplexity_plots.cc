#include "reports/perplexity_plots.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reports/comparison_plots.h"
#include "results/perplexity_statistics.h"
#include "results/summary.h"

namespace kvlab {

namespace {

// The point of a row over its ratio; null where it has none.
using PointOf = std::optional<PlotPoint> (*)(const PerplexityRow& row);

std::optional<PlotPoint> ppl_point(const PerplexityRow& row) {
  const MethodSummary summary = summarise(row.result);
  if (!summary.ppl) return std::nullopt;
  PlotPoint point{*row.ratio, *summary.ppl, {}, {}, ""};
  if (const auto interval = window_intervals(row); interval && summary.delta_nll) {
    point.low = *summary.ppl * std::exp(interval->delta_nll.ci95.low - *summary.delta_nll);
    point.high = *summary.ppl * std::exp(interval->delta_nll.ci95.high - *summary.delta_nll);
  }
  return point;
}

std::optional<PlotPoint> runtime_point(const PerplexityRow& row) {
  if (!has_run(row)) return std::nullopt;
  PlotPoint point{*row.ratio, runtime_seconds(row), {}, {}, ""};
  if (const auto interval = runtime_interval(row)) {
    point.low = interval->low;
    point.high = interval->high;
  }
  return point;
}

PlotSeries& series_of(LinePlot& plot, const std::string& name) {
  const auto found = std::find_if(plot.series.begin(), plot.series.end(),
                                  [&](const PlotSeries& series) { return series.name == name; });
  if (found != plot.series.end()) return *found;
  plot.series.push_back({name, {}});
  return plot.series.back();
}

bool spans_decades(const LinePlot& plot) {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  return low > 0 && high > 10 * low;
}

std::optional<LinePlot> plot_rows(const PerplexityResult& result, PointOf point_of) {
  LinePlot plot;
  plot.subtitle = run_subtitle(result.config);
  plot.x.label = "compression ratio: fraction evicted (further right: more compression)";
  plot.baseline_name = "Baseline";
  for (const PerplexityRow& row : result.rows) {
    if (!row.ratio) continue;
    const std::optional<PlotPoint> point = point_of(row);
    if (!point) continue;
    if (!row.result.reference) {
      series_of(plot, row.method).points.push_back(*point);
    } else if (!plot.baseline) {
      plot.baseline = point->y;
    }
  }
  if (plot.series.empty()) return std::nullopt;
  for (PlotSeries& series : plot.series) {
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
  }
  plot.y.logarithmic = spans_decades(plot);
  return plot;
}

}  // namespace

std::optional<LinePlot> ppl_plot(const PerplexityResult& result) {
  std::optional<LinePlot> plot = plot_rows(result, ppl_point);
  if (!plot) return plot;
  plot->title = "Perplexity against compression";
  plot->y.label = "PPL (95% interval of the difference from the baseline)";
  return plot;
}

std::optional<LinePlot> runtime_plot(const PerplexityResult& result) {
  std::optional<LinePlot> plot = plot_rows(result, runtime_point);
  if (!plot) return plot;
  plot->title = "Runtime of scoring against compression";
  plot->y.label = "seconds for all windows (95%, over windows)";
  return plot;
}

}  // namespace kvlab
