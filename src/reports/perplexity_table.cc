#include "reports/perplexity_table.h"

#include <fmt/format.h>

#include "base/error.h"
#include "reports/grid.h"
#include "reports/number_text.h"
#include "results/summary.h"

namespace kvlab {

namespace {

constexpr const char* kMissing = "-";

std::string seconds_text(const PerplexityRow& row, double seconds) {
  return row.result.documents.empty() ? kMissing : fmt::format("{:.2f}", seconds);
}

std::vector<Column> columns_of(const PerplexityResult& result) {
  std::vector<Column> columns = {{"Method", {}, false}, {"ratio", {}},   {"PPL", {}},     {"ΔPPL %", {}},
                                 {"NLL", {}},           {"scored", {}},  {"touched", {}}, {"prefill s", {}},
                                 {"runtime s", {}},     {"total s", {}}, {"tok/s", {}},   {"KV bytes", {}},
                                 {"status", {}, false}};
  for (const PerplexityRow& row : result.rows) {
    const MethodSummary s = summarise(row.result);
    const Status status = row.result.status;
    const std::vector<std::string> cells = {row.result.name,
                                            row.ratio ? fmt::format("{}", *row.ratio) : kMissing,
                                            number_text(s.ppl, {3}, kMissing),
                                            number_text(s.delta_ppl_percent, {3, true}, kMissing),
                                            number_text(s.nll, {4}, kMissing),
                                            number_text(s.tokens_scored, {0}, kMissing),
                                            number_text(s.tokens_touched, {0}, kMissing),
                                            seconds_text(row, prefill_seconds(row)),
                                            seconds_text(row, runtime_seconds(row)),
                                            seconds_text(row, row.setup_seconds + runtime_seconds(row)),
                                            number_text(s.tokens_per_second, {0}, kMissing),
                                            bytes_text(s.kv_bytes, kMissing),
                                            status == Status::kOk ? "" : status_name(status)};
    for (size_t c = 0; c < cells.size(); ++c) columns[c].cells.push_back(cells[c]);
  }
  return columns;
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
  return text.empty() ? "" : "\n" + text;
}

}  // namespace

std::string render_perplexity(const PerplexityResult& result, TableFormat format, int width) {
  KVLAB_CHECK(format != TableFormat::kCsv);
  const std::vector<Column> columns = columns_of(result);
  const std::string table = format == TableFormat::kMarkdown
                                ? grid_markdown(columns)
                                : grid_text(columns, static_cast<size_t>(width), "─");
  return table + remarks(result);
}

}  // namespace kvlab
