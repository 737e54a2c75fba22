#include "reports/perplexity_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "reports/grid.h"
#include "reports/number_text.h"
#include "results/perplexity_statistics.h"
#include "results/summary.h"

namespace kvlab {

namespace {

constexpr const char* kMissing = "-";

using Figure = std::optional<double>;

// What a row's cells are written from.
struct RowFigures {
  const PerplexityRow& row;
  MethodSummary summary;
  std::optional<WindowIntervals> interval;

  Figure if_run(double value) const { return has_run(row) ? Figure(value) : std::nullopt; }
};

std::string number(const Figure& value, const NumberStyle& style) {
  return number_text(value, style, kMissing);
}

std::string with_spread(const Figure& value, const Figure& spread, const NumberStyle& style) {
  std::string text = number(value, style);
  return spread ? text + " ± " + number(spread, {style.digits}) : text;
}

std::string interval_cell(const std::optional<WindowIntervals>& interval) {
  if (!interval) return kMissing;
  const Interval& ci95 = interval->delta_nll.ci95;
  return interval_text(ci95.low, ci95.high, {4, true});
}

std::string status_cell(const MethodResult& result) {
  const std::string status = result.status == Status::kOk ? "" : status_name(result.status);
  if (!result.trained_on_this.found()) return status;
  return status + (status.empty() ? "" : " ") + kTrainedOnThis;
}

std::vector<std::string> cells_of(const RowFigures& f) {
  const PerplexityRow& row = f.row;
  const MethodSummary& s = f.summary;
  return {row.result.name,
          row.ratio ? fmt::format("{}", *row.ratio) : kMissing,
          with_spread(s.ppl, s.ppl_spread, {3}),
          with_spread(s.delta_ppl_percent, s.delta_ppl_percent_spread, {3, true}),
          number(s.nll, {4}),
          with_spread(s.delta_nll, s.delta_nll_spread, {4, true}),
          interval_cell(f.interval),
          number(s.tokens_scored, {0}),
          number(s.tokens_touched, {0}),
          number(f.if_run(tokens_differing(row)), {0}),
          number(f.if_run(prefill_seconds(row)), {2}),
          number(f.if_run(runtime_seconds(row)), {2}),
          number(f.if_run(row.setup_seconds + runtime_seconds(row)), {2}),
          number(s.tokens_per_second, {0}),
          bytes_text(s.kv_bytes, kMissing),
          status_cell(row.result)};
}

std::vector<Column> columns_of(const PerplexityResult& result) {
  std::vector<Column> columns = {
      {"Method", {}, false}, {"ratio", {}},           {"PPL", {}},     {"ΔPPL %", {}},  {"NLL", {}},
      {"ΔNLL", {}},          {"ΔNLL 95%", {}, false}, {"scored", {}},  {"touched", {}}, {"differ", {}},
      {"prefill s", {}},     {"runtime s", {}},       {"total s", {}}, {"tok/s", {}},   {"KV bytes", {}},
      {"status", {}, false}};
  for (const PerplexityRow& row : result.rows) {
    const std::vector<std::string> cells = cells_of({row, summarise(row.result), window_intervals(row)});
    for (size_t c = 0; c < cells.size(); ++c) columns[c].cells.push_back(cells[c]);
  }
  return columns;
}

std::string grid(const std::vector<Column>& columns, TableFormat format, int width) {
  KVLAB_CHECK(format != TableFormat::kCsv);
  return format == TableFormat::kMarkdown ? grid_markdown(columns)
                                          : grid_text(columns, static_cast<size_t>(width), "─");
}

std::string label(const PerplexityRow& row) {
  return row.ratio ? fmt::format("{} at {}", row.result.name, *row.ratio) : row.result.name;
}

std::string remarks(const PerplexityResult& result) {
  std::string text;
  for (const PerplexityRow& row : result.rows) {
    if (row.equal_to_baseline) {
      text += *row.equal_to_baseline
                  ? "Baseline, run twice: every loss is equal to the last bit\n"
                  : "Baseline, run twice: LOSSES DIFFER, which they must not; differences below are unsure\n";
    }
    if (row.result.status != Status::kOk)
      text += fmt::format("{}: {}: {}\n", label(row), status_name(row.result.status), row.result.reason);
    for (const std::string& note : row.result.notes) text += fmt::format("{}: {}\n", label(row), note);
  }
  return text;
}

// What holds for all rows.
std::string legend(const PerplexityResult& result) {
  size_t seeds = 0;
  std::string method;
  for (const PerplexityRow& row : result.rows) {
    seeds = std::max(seeds, row.result.seed_results.size());
    const auto interval = window_intervals(row);
    if (interval && method.empty()) method = interval->method;  // the same for all rows
  }
  std::string text;
  if (seeds > 1) text += fmt::format("± is the standard deviation over {} seeds; figures are means\n", seeds);
  if (!method.empty()) text += "95% intervals of ΔNLL against the baseline, by token: " + method + "\n";
  return text;
}

}  // namespace

std::string render_perplexity(const PerplexityResult& result, TableFormat format, int width) {
  const std::string lines = remarks(result) + legend(result);
  return grid(columns_of(result), format, width) + (lines.empty() ? "" : "\n" + lines);
}

std::string render_ratio_steps(const PerplexityResult& result, TableFormat format, int width) {
  const std::vector<RatioStep> steps = ratio_steps(result);
  if (steps.empty()) return "";
  std::vector<Column> columns = {
      {"Method", {}, false}, {"from", {}}, {"to", {}}, {"ΔNLL(to) − ΔNLL(from)", {}}, {"95%", {}, false}};
  for (const RatioStep& step : steps) {
    columns[0].cells.push_back(step.name);
    columns[1].cells.push_back(fmt::format("{}", step.from));
    columns[2].cells.push_back(fmt::format("{}", step.to));
    columns[3].cells.push_back(number(step.delta_nll, {4, true}));
    columns[4].cells.push_back(interval_cell(step.interval));
  }
  return grid(columns, format, width);
}

}  // namespace kvlab
