#include "bench/roofline/report.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "results/atomic_file.h"
#include "results/environment.h"

namespace kvlab::roofline {

namespace {

// What decides whether waiting threads count as busy.
Json waiting_settings() {
  Json settings;
  for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}) {
    const char* value = std::getenv(name);
    settings[name] = value ? Json(value) : Json(nullptr);
  }
  return settings;
}

std::string markdown_row(const std::vector<std::string>& cells, const std::vector<size_t>& widths,
                         const std::vector<Column>& columns) {
  std::string line = "|";
  for (size_t i = 0; i < cells.size(); ++i) {
    line += columns[i].format == Format::kText ? fmt::format(" {:<{}} |", cells[i], widths[i])
                                               : fmt::format(" {:>{}} |", cells[i], widths[i]);
  }
  return line + "\n";
}

std::string rule(const std::vector<size_t>& widths, const std::vector<Column>& columns) {
  std::string line = "|";
  for (size_t i = 0; i < widths.size(); ++i) {
    const bool text = columns[i].format == Format::kText;
    line += " " + std::string(text ? widths[i] : widths[i] - 1, '-') + (text ? " |" : ": |");
  }
  return line + "\n";
}

}  // namespace

std::string cell_text(const Json& row, const Column& column) {
  const auto found = row.find(column.key);
  if (found == row.end() || found->is_null()) return "-";
  switch (column.format) {
    case Format::kText:
      return found->get<std::string>();
    case Format::kCount:
      return fmt::format("{}", found->get<int64_t>());
    case Format::kRate:
      return fmt::format("{:.1f}", found->get<double>());
    case Format::kPercent:
      return percent(found->get<double>());
    case Format::kRatio:
      return fmt::format("{:.3f}", found->get<double>());
    case Format::kMegabytes:
      return fmt::format("{:.1f}", found->get<double>() * 1e-6);
    case Format::kClean:
      return found->get<bool>() ? "clean" : "not clean";
  }
  return "-";
}

void Report::table(const std::string& key, const std::string& title, const std::vector<Column>& columns,
                   const std::vector<Json>& rows) {
  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns) lines[0].push_back(column.header);
  for (const Json& row : rows) {
    lines.emplace_back();
    for (const Column& column : columns) lines.back().push_back(cell_text(row, column));
  }
  std::vector<size_t> widths(columns.size(), 3);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  fmt::print("### {}\n\n{}{}", title, markdown_row(lines[0], widths, columns), rule(widths, columns));
  for (size_t i = 1; i < lines.size(); ++i) fmt::print("{}", markdown_row(lines[i], widths, columns));
  fmt::print("\n");
  std::fflush(stdout);
  json_[key] = rows;
}

void Report::note(const std::string& text) const {
  fmt::print("{}\n\n", text);
}

void Report::save() {
  if (path_.empty()) return;
  json_["waiting"] = waiting_settings();
  json_["environment"] = environment_json();
  write_atomically(path_, json_.dump(2) + "\n");
}

void add_cpu(Json& row, const Samples& samples) {
  row["threads"] = samples.threads;
  row["cpu_wall"] = samples.cpu_share();
  row["clean"] = samples.clean();
  for (const Timing& run : samples.runs) {
    row["seconds"].push_back(run.wall);
    row["cpu_seconds"].push_back(run.cpu);
  }
}

std::vector<Column> with_cpu(std::vector<Column> columns) {
  columns.push_back({"cpu_wall", "CPU/wall", Format::kRatio});
  columns.push_back({"clean", "state", Format::kClean});
  return columns;
}

}  // namespace kvlab::roofline
