#include "reports/bench_table.h"

#include <fmt/format.h>

#include "reports/grid.h"
#include "reports/number_text.h"
#include "results/bench_figures.h"

namespace kvlab {

namespace {

constexpr const char* kMissing = "-";

std::string number(double value, int digits) {
  return number_text(value, {digits}, kMissing);
}
std::string percent(double share, bool sign = false) {
  return number_text(share, {1, sign, 100}, kMissing);
}
std::string bytes(double value) {
  return bytes_text(value, kMissing);
}
std::string yes_no(bool yes) {
  return yes ? "yes" : "no";
}

using Cells = std::vector<std::string>;

std::vector<Column> filled(std::vector<Column> columns, const std::vector<Cells>& rows) {
  for (const Cells& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) columns[c].cells.push_back(row[c]);
  }
  return columns;
}

std::vector<Column> time_columns(const BenchResult& result) {
  std::vector<Cells> rows;
  for (const BenchRow& row : result.rows) {
    const BenchFigures f = bench_figures(result, row);
    rows.push_back({row.method, number(static_cast<double>(row.tokens), 0), number(row.timing.wall, 2),
                    number(f.tokens_per_second, 1), number(f.layer_seconds, 3), percent(f.cpu_share),
                    percent(f.share_of_products), percent(f.cpu_share_of_products)});
  }
  return filled({{"Method", {}, false},
                 {"tokens", {}},
                 {"seconds", {}},
                 {"tok/s", {}},
                 {"s a layer", {}},
                 {"CPU %", {}},
                 {"of products %", {}},
                 {"by CPU %", {}}},
                rows);
}

std::vector<Column> memory_columns(const BenchResult& result) {
  std::vector<Cells> rows;
  for (const BenchRow& row : result.rows) {
    const BenchFigures f = bench_figures(result, row);
    const bool known = row.peak_resident > 0;
    rows.push_back({row.method, number(static_cast<double>(row.tokens), 0), bytes(f.layer_cache_end),
                    bytes(f.layer_cache_peak),
                    bytes(static_cast<double>(f.weights) + static_cast<double>(row.cache_peak)),
                    known ? bytes(static_cast<double>(row.peak_resident)) : kMissing,
                    known ? percent(f.over_accounted, true) : kMissing,
                    known ? bytes(static_cast<double>(f.working)) : kMissing,
                    known ? yes_no(f.inside_memory) : kMissing});
  }
  return filled({{"Method", {}, false},
                 {"tokens", {}},
                 {"cache a layer", {}},
                 {"its peak", {}},
                 {"weights + caches", {}},
                 {"peak resident", {}},
                 {"more %", {}},
                 {"working", {}},
                 {"in --memory", {}, false}},
                rows);
}

std::vector<Column> whole_columns(const BenchResult& result) {
  std::vector<Cells> rows;
  for (const BenchRow& row : result.rows) {
    const BenchFigures f = bench_figures(result, row);
    const bool known = row.peak_resident > 0;
    rows.push_back({row.method, number(static_cast<double>(row.tokens), 0), number(f.whole_seconds, 1),
                    number(f.whole_head_seconds, 1), bytes(f.whole_cache),
                    known ? bytes(f.whole_memory) : kMissing,
                    known ? yes_no(f.whole_inside_memory) : kMissing});
  }
  return filled({{"Method", {}, false},
                 {"tokens", {}},
                 {"seconds", {}},
                 {"+ head, all scored", {}},
                 {"caches", {}},
                 {"memory", {}},
                 {"in --memory", {}, false}},
                rows);
}

std::string heading(const BenchResult& result) {
  const BenchModel& m = result.model;
  return fmt::format(
      "{} ({}), {} weights: {} of {} layers, {} weights, {} cache, {} thread{}; prefills of random tokens, "
      "without the output head\n",
      m.name, m.architecture, m.weights, m.layers_run, m.layers, m.dtype, m.kv_dtype, result.threads,
      result.threads == 1 ? "" : "s");
}

std::string products_line(const char* what, const BenchResult& result, const BenchProducts& products) {
  const double wall = products.timing.wall;
  return fmt::format("{}: {} GFLOPS ({} s for {} tokens, CPU {} %)\n", what,
                     number(products.per_second() * 1e-9, 1), number(wall, 3), products.rows,
                     percent(wall > 0 ? products.timing.cpu / wall / result.threads : 0));
}

std::string weights_line(const BenchModel& m) {
  return fmt::format("Weights: {} a layer, {} the output head; the embedding has {} in the file\n",
                     bytes(static_cast<double>(m.layer_bytes)), bytes(static_cast<double>(m.head_bytes)),
                     m.embedding_bytes ? bytes(static_cast<double>(*m.embedding_bytes)) : "an unknown size");
}

std::string legend(const BenchResult& result) {
  std::string text =
      "of products %: the time that the layers' matrix products take alone, in the time taken; by CPU %: "
      "the same of processor time, which other programs disturb less\n"
      "more %: peak resident over weights + caches; working: the difference (activations of a block, the "
      "program, what the allocator holds)\n";
  if (!result.own_peaks)
    text += "The system does not let the peak be reset: peak resident is that since the program began\n";
  if (!result.model.layers_alike)
    text += "Layers differ in their sliding windows: the whole model follows from those run only roughly\n";
  return text;
}

}  // namespace

std::string render_bench(const BenchResult& result, bool markdown, int width) {
  const auto grid = [&](const std::vector<Column>& columns) {
    return markdown ? grid_markdown(columns) : grid_text(columns, static_cast<size_t>(width), "─");
  };
  std::string text = heading(result) + weights_line(result.model) +
                     products_line("A layer's matrix products alone", result, result.products) +
                     products_line("The output head's alone", result, result.head);
  text += "\n" + grid(time_columns(result)) + "\n" + grid(memory_columns(result)) + "\n" + legend(result);
  text += fmt::format("\nThe whole model, {} layers, by these formulas:\n\n", result.model.layers) +
          grid(whole_columns(result)) + "\n";
  for (const std::string& formula : bench_formulas()) text += formula + "\n";
  return text;
}

}  // namespace kvlab
