#include "reports/table.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "reports/grid.h"
#include "reports/number_text.h"
#include "results/csv.h"
#include "results/summary.h"

namespace kvlab {

namespace {

using Figure = std::optional<double> MethodSummary::*;

constexpr const char* kOnFront = "●";

struct Row {
  const MethodResult* method;
  MethodSummary summary;
};

// One column of figures: its heading for people, its name for programs.
struct FigureColumn {
  const char* heading;
  const char* key;
  Figure figure;
  Figure spread;  // or null
  NumberStyle style;
  bool optional = false;  // left out for people when no row has it
};

const std::vector<FigureColumn>& quality_columns() {
  using S = MethodSummary;
  static const std::vector<FigureColumn> columns = {
      {"NLL", "nll", &S::nll, &S::nll_spread, {4}},
      {"ΔNLL", "delta_nll", &S::delta_nll, &S::delta_nll_spread, {4, true}},
      {"to oracle", "gap_to_oracle", &S::gap_to_oracle, nullptr, {4, true}, true},
      {"PPL", "ppl", &S::ppl, &S::ppl_spread, {3}},
      {"ΔPPL", "delta_ppl", &S::delta_ppl, &S::delta_ppl_spread, {3, true}},
      {"ΔPPL %", "delta_ppl_percent", &S::delta_ppl_percent, &S::delta_ppl_percent_spread, {3, true}},
      {"KL", "kl_mean", &S::kl_mean, nullptr, {5}},
      {"top-1 %", "top1_agreement", &S::top1_agreement, nullptr, {2, false, 100}},
      {"long-range ΔNLL", "delta_nll_long_range", &S::delta_nll_long_range, nullptr, {3, true}, true},
      {"density", "density", &S::density, nullptr, {4}},
      {"compressible", "density_compressible", &S::density_compressible, nullptr, {4}},
      {"seen", "density_seen", &S::density_seen, nullptr, {4}}};
  return columns;
}

std::vector<Row> rows_of(const ComparisonResult& result, bool sort_by_nll) {
  std::vector<Row> rows;
  const std::vector<MethodSummary> summaries = summarise_all(result);
  for (size_t i = 0; i < summaries.size(); ++i) rows.push_back({&result.methods[i], summaries[i]});
  if (!sort_by_nll) return rows;
  const auto key = [](const Row& row) {
    return row.summary.nll.value_or(std::numeric_limits<double>::infinity());
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return key(a) < key(b); });
  return rows;
}

bool flagged(const MethodResult& method) {
  return method.status != Status::kOk || !method.notes.empty();
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Only our own signs; a user's name stays as it is.
std::string plain_signs(std::string text) {
  for (const auto& [from, to] : {std::pair{"Δ", "d"}, {"±", "+-"}, {"—", "-"}, {kOnFront, "*"}})
    text = replaced(text, from, to);
  return text;
}

std::string cell_text(const Row& row, const FigureColumn& column) {
  const MethodSummary& summary = row.summary;
  std::string text = number_text(summary.*column.figure, column.style, "—");
  const bool against_itself =
      column.figure == &MethodSummary::delta_nll_long_range && row.method->control_family;
  if (against_itself && summary.*column.figure) text += "*";  // the row's note says why
  if (!column.spread || !(summary.*column.spread)) return text;
  NumberStyle spread = column.style;
  spread.sign = false;
  return text + " ± " + number_text(summary.*column.spread, spread, "—");
}

Column figure_column(const std::vector<Row>& rows, const FigureColumn& figure) {
  Column column{figure.heading, {}};
  for (const Row& row : rows) column.cells.push_back(cell_text(row, figure));
  return column;
}

// The intervals of ΔNLL; empty when no row has one.
Column interval_column(const std::vector<Row>& rows) {
  Column column{"ΔNLL 95%", {}, false};
  bool any = false;
  for (const Row& row : rows) {
    const std::optional<Interval>& interval = row.summary.delta_nll_ci95;
    any = any || interval;
    column.cells.push_back(interval ? interval_text(interval->low, interval->high, {4, true}) : "—");
  }
  return any ? column : Column{};
}

Column verdict_column(const std::vector<Row>& rows) {
  Column column{"verdict", {}, false};
  for (const Row& row : rows) column.cells.push_back(row.summary.verdict.value_or("—"));
  return column;
}

// The column of states, "" for rows that are plain OK; empty when all are.
Column status_column(const std::vector<Row>& rows) {
  Column column{"status", {}, false};
  int number = 0;
  for (const Row& row : rows) {
    const bool marked = flagged(*row.method);
    const std::string trained = row.method->trained_on_this.found() ? std::string(" ") + kTrainedOnThis : "";
    column.cells.push_back(
        marked ? fmt::format("{}{} [{}]", status_name(row.method->status), trained, ++number) : "");
  }
  return number ? column : Column{};
}

bool has_front(const std::vector<Row>& rows) {
  const auto takes_part = [](const Row& row) { return row.summary.pareto.has_value(); };
  return std::count_if(rows.begin(), rows.end(), takes_part) > 1;  // one alone is its own front
}

// The rows on the Pareto front; empty when there is none to speak of.
Column front_column(const std::vector<Row>& rows) {
  Column column{"front", {}, false};
  for (const Row& row : rows) column.cells.push_back(row.summary.pareto.value_or(false) ? kOnFront : "");
  return has_front(rows) ? column : Column{};
}

std::vector<Column> columns_of(const std::vector<Row>& rows, bool verdicts, bool ascii) {
  Column names{"Method", {}, false}, bytes{"KV bytes", {}}, ratios{"KV ratio", {}}, speed{"tok/s", {}};
  for (const Row& row : rows) {
    const MethodSummary& summary = row.summary;
    names.cells.push_back(row.method->name);
    bytes.cells.push_back(bytes_text(summary.kv_bytes, "—"));
    ratios.cells.push_back(number_text(kv_ratio(summary), {2, false, 1, "x"}, "—"));
    speed.cells.push_back(number_text(summary.tokens_per_second, {1}, "—"));
  }
  std::vector<Column> columns = {names};
  for (const FigureColumn& figure : quality_columns()) {
    const auto has = [&](const Row& row) { return (row.summary.*figure.figure).has_value(); };
    if (figure.optional && std::none_of(rows.begin(), rows.end(), has)) continue;
    columns.push_back(figure_column(rows, figure));
    if (figure.figure != &MethodSummary::delta_nll) continue;
    if (Column interval = interval_column(rows); !interval.cells.empty()) columns.push_back(interval);
    if (verdicts) columns.push_back(verdict_column(rows));
  }
  if (Column front = front_column(rows); !front.cells.empty()) columns.push_back(front);
  for (const Column& column : {bytes, ratios, speed}) columns.push_back(column);
  if (Column status = status_column(rows); !status.cells.empty()) columns.push_back(status);
  for (size_t c = 1; ascii && c < columns.size(); ++c) {
    columns[c].heading = plain_signs(columns[c].heading);
    for (std::string& cell : columns[c].cells) cell = plain_signs(cell);
  }
  return columns;
}

std::string explanation(const MethodResult& method) {
  std::string text = method.reason;
  for (const std::string& note : method.notes) text += (text.empty() ? "" : "; ") + note;
  return replaced(text.empty() ? "no reason given" : text, "\n", " ");
}

// One line per flagged row, then what holds for the whole table.
std::vector<std::string> legend(const std::vector<Row>& rows, const ComparisonResult& result) {
  std::vector<std::string> lines;
  size_t seeds = 0;
  for (const Row& row : rows) {
    seeds = std::max(seeds, row.method->seed_results.size());
    if (!flagged(*row.method)) continue;
    lines.push_back(fmt::format("[{}] {}: {}", lines.size() + 1, row.method->name, explanation(*row.method)));
  }
  if (seeds > 1) lines.push_back(fmt::format("± is the standard deviation over {} seeds", seeds));
  for (const Row& row : rows) {
    if (!row.summary.ci_method) continue;
    lines.push_back("95% intervals: " + *row.summary.ci_method);  // the same for all rows
    break;
  }
  if (result.margin) {
    lines.push_back(fmt::format("verdict: PASS if the interval says that PPL is less than {:.4g}% higher",
                                100 * *result.margin));
  }
  if (has_front(rows)) {
    lines.push_back(fmt::format(
        "front {}: no row has less of NLL or KV bytes seen,\n         and no more of the other", kOnFront));
  }
  if (result.interrupted)
    lines.push_back("Interrupted: only the documents that every row finished are counted");
  return lines;
}

std::string csv_number(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

std::string csv_flag(const std::optional<bool>& value) {
  return value ? (*value ? "true" : "false") : "";
}

// Nothing: not known.
std::optional<bool> trained_on_this(const MethodResult& method) {
  const TrainedOnThis& trained = method.trained_on_this;
  return trained.found() || trained.unknown.empty() ? std::optional(trained.found()) : std::nullopt;
}

std::string render_csv(const std::vector<Row>& rows) {
  std::string text = "method,recipe";
  for (const FigureColumn& column : quality_columns()) {
    text += std::string(",") + column.key;
    if (column.spread) text += std::string(",") + column.key + "_spread";
  }
  text +=
      ",delta_nll_ci95_low,delta_nll_ci95_high,p_holm,verdict,kv_bytes,kv_ratio,tokens_per_second,status,"
      "pareto,trained_on_this,notes\n";
  for (const Row& row : rows) {
    const MethodSummary& summary = row.summary;
    text += csv_text(row.method->name) + "," + csv_text(row.method->recipe);
    for (const FigureColumn& column : quality_columns()) {
      text += "," + csv_number(summary.*column.figure);
      if (column.spread) text += "," + csv_number(summary.*column.spread);
    }
    const std::optional<Interval>& interval = summary.delta_nll_ci95;
    text += interval ? fmt::format(",{},{}", interval->low, interval->high) : ",,";
    text += "," + csv_number(summary.p_holm) + "," + summary.verdict.value_or("");
    text += "," + csv_number(summary.kv_bytes) + "," + csv_number(kv_ratio(summary)) + "," +
            csv_number(summary.tokens_per_second) + "," + status_name(row.method->status) + "," +
            csv_flag(summary.pareto) + "," + csv_flag(trained_on_this(*row.method)) + "," +
            csv_text(flagged(*row.method) ? explanation(*row.method) : "") + "\n";
  }
  return text;
}

}  // namespace

TableFormat parse_table_format(const std::string& name) {
  if (name == "text") return TableFormat::kText;
  if (name == "markdown") return TableFormat::kMarkdown;
  if (name == "csv") return TableFormat::kCsv;
  throw UserError("unknown table format \"" + name + "\" (expected text, markdown or csv)");
}

std::string render_table(const ComparisonResult& result, const TableOptions& options) {
  const std::vector<Row> rows = rows_of(result, options.sort_by_nll);
  if (options.format == TableFormat::kCsv) return render_csv(rows);
  const std::vector<Column> columns = columns_of(rows, result.margin.has_value(), options.ascii);
  const bool markdown = options.format == TableFormat::kMarkdown;
  const std::string rule = options.ascii ? "-" : "─";
  std::string text = markdown ? grid_markdown(columns)
                              : grid_text(columns, static_cast<size_t>(std::max(0, options.width)), rule);
  const std::vector<std::string> lines = legend(rows, result);
  if (!lines.empty()) text += "\n";
  for (const std::string& line : lines) {
    text += (markdown ? "- " : "") + (options.ascii ? plain_signs(line) : line) + "\n";
  }
  return text;
}

}  // namespace kvlab
