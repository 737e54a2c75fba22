#include "reports/sweep_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "reports/comparison_plots.h"
#include "reports/grid.h"
#include "reports/number_text.h"

namespace kvlab {

namespace {

using Figure = std::optional<double>;

std::string number(const Figure& value, const NumberStyle& style) {
  return number_text(value, style, "—");
}

std::string with_spread(const Figure& value, const Figure& spread, const NumberStyle& style) {
  return number(value, style) + (spread ? " ± " + number(spread, {style.digits}) : "");
}

std::vector<std::string> cells_of(const SweepRow& row) {
  const MethodSummary& s = row.summary;
  return {fmt::format("{}", row.threshold),
          number(s.density, {4}),
          number(s.density_compressible, {4}),
          number(s.density_seen, {4}),
          with_spread(s.nll, s.nll_spread, {4}),
          with_spread(s.delta_nll, s.delta_nll_spread, {4, true}),
          s.delta_nll_ci95 ? interval_text(s.delta_nll_ci95->low, s.delta_nll_ci95->high, {4, true}) : "—",
          with_spread(s.ppl, s.ppl_spread, {3}),
          with_spread(s.delta_ppl_percent, s.delta_ppl_percent_spread, {3, true}),
          row.status == Status::kOk ? "" : status_name(row.status)};
}

std::vector<Column> columns_of(const ThresholdSweep& sweep) {
  std::vector<Column> columns = {
      {"threshold", {}}, {"density", {}},      {"compressible", {}},    {"seen", {}},
      {"NLL", {}},       {"ΔNLL", {}},         {"ΔNLL 95%", {}, false}, {"PPL", {}},
      {"ΔPPL %", {}},    {"status", {}, false}};
  for (const SweepRow& row : sweep.rows) {
    const std::vector<std::string> cells = cells_of(row);
    for (size_t c = 0; c < cells.size(); ++c) columns[c].cells.push_back(cells[c]);
  }
  return columns;
}

std::string sweep_csv(const ThresholdSweep& sweep) {
  std::string text =
      "threshold,density,density_compressible,density_seen,nll,delta_nll,delta_nll_ci95_low,"
      "delta_nll_ci95_high,ppl,delta_ppl_percent,status\n";
  for (const SweepRow& row : sweep.rows) {
    const MethodSummary& s = row.summary;
    const auto& interval = s.delta_nll_ci95;
    text += fmt::format("{}", row.threshold);
    for (const Figure& figure :
         {s.density, s.density_compressible, s.density_seen, s.nll, s.delta_nll,
          interval ? Figure(interval->low) : std::nullopt, interval ? Figure(interval->high) : std::nullopt,
          s.ppl, s.delta_ppl_percent}) {
      text += figure ? fmt::format(",{}", *figure) : ",";
    }
    text += std::string(",") + status_name(row.status) + "\n";
  }
  return text;
}

LinePlot plot_over(const ThresholdSweep& sweep, const std::string& label, bool over_threshold) {
  LinePlot plot;
  plot.subtitle = sweep.subtitle;
  plot.x.label = label;
  plot.y.label = kDeltaNllAxis;
  plot.baseline = 0;
  plot.baseline_name = "Baseline";
  plot.series.push_back({"threshold", {}});
  for (const SweepRow& row : sweep.rows) {
    const MethodSummary& s = row.summary;
    if (!s.delta_nll || !s.density_seen) continue;
    PlotPoint point{over_threshold ? row.threshold : *s.density_seen, *s.delta_nll, {}, {}, ""};
    if (!over_threshold) point.label = fmt::format("{}", row.threshold);
    if (s.delta_nll_ci95) {
      point.low = s.delta_nll_ci95->low;
      point.high = s.delta_nll_ci95->high;
    }
    plot.series[0].points.push_back(point);
  }
  return plot;
}

}  // namespace

ThresholdSweep threshold_sweep(const ComparisonResult& result,
                               const std::vector<std::pair<std::string, double>>& thresholds) {
  ThresholdSweep sweep;
  sweep.subtitle = run_subtitle(result.config);
  sweep.baseline = summarise(result.methods[0]);
  for (const MethodResult& row : result.methods) {
    const auto found = std::find_if(thresholds.begin(), thresholds.end(),
                                    [&](const auto& entry) { return entry.first == row.recipe; });
    if (!row.reference && found != thresholds.end())
      sweep.rows.push_back({found->second, row.status, summarise(row)});
  }
  std::stable_sort(sweep.rows.begin(), sweep.rows.end(),
                   [](const SweepRow& a, const SweepRow& b) { return a.threshold < b.threshold; });
  return sweep;
}

std::string render_sweep(const ThresholdSweep& sweep, TableFormat format, int width) {
  if (format == TableFormat::kCsv) return sweep_csv(sweep);
  const std::vector<Column> columns = columns_of(sweep);
  const std::string table = format == TableFormat::kMarkdown
                                ? grid_markdown(columns)
                                : grid_text(columns, static_cast<size_t>(std::max(0, width)), "─");
  return table + fmt::format("\nBaseline: NLL {}, PPL {}. A higher threshold evicts more.\n",
                             number(sweep.baseline.nll, {4}), number(sweep.baseline.ppl, {3}));
}

std::vector<LinePlot> sweep_plots(const ThresholdSweep& sweep) {
  LinePlot over_seen =
      plot_over(sweep, "KV entries seen, fraction of dense (further left: more compression)", false);
  if (over_seen.series[0].points.empty()) return {};
  over_seen.title = "Threshold sweep: quality against what was seen";
  LinePlot over_threshold =
      plot_over(sweep, "threshold: entries scored below it go (further right: more compression)", true);
  over_threshold.title = "Threshold sweep: quality against the threshold";
  return {over_seen, over_threshold};
}

}  // namespace kvlab
