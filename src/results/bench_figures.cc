#include "results/bench_figures.h"

#include <algorithm>

namespace kvlab {

BenchFigures bench_figures(const BenchResult& result, const BenchRow& row) {
  const BenchModel& model = result.model;
  const double layers = model.layers, run = model.layers_run, wall = row.timing.wall;
  const auto tokens = static_cast<double>(row.tokens);
  BenchFigures f;
  f.layer_seconds = wall / run;
  f.layer_cache_end = static_cast<double>(row.cache_end) / run;
  f.layer_cache_peak = static_cast<double>(row.cache_peak) / run;
  if (wall > 0) {
    f.tokens_per_second = tokens / wall;
    f.cpu_share = row.timing.cpu / wall / result.threads;
    const BenchProducts& products = result.products;
    if (products.rows > 0 && row.timing.cpu > 0) {
      const double passes = tokens * run / static_cast<double>(products.rows);  // of a layer's products
      f.share_of_products = passes * products.timing.wall / wall;
      f.cpu_share_of_products = passes * products.timing.cpu / row.timing.cpu;
    }
  }
  f.weights = model.layer_bytes * model.layers_run + model.head_bytes;
  const int64_t accounted = f.weights + row.cache_peak;
  f.working = std::max<int64_t>(0, row.peak_resident - accounted);
  f.over_accounted = static_cast<double>(row.peak_resident) / static_cast<double>(accounted) - 1;
  f.inside_memory = row.peak_resident <= result.memory;
  f.whole_seconds = wall * layers / run;
  if (result.head.rows > 0)
    f.whole_head_seconds = tokens * result.head.timing.wall / static_cast<double>(result.head.rows);
  f.whole_cache = f.layer_cache_peak * layers;
  f.whole_memory = static_cast<double>(model.layer_bytes) * layers + static_cast<double>(model.head_bytes) +
                   f.whole_cache + static_cast<double>(f.working);
  f.whole_inside_memory = f.whole_memory <= static_cast<double>(result.memory);
  return f;
}

std::vector<std::string> bench_formulas() {
  return {
      "time = time measured × layers / layers run; scoring every token adds tokens × time of the output "
      "head's products per token (left out: the losses themselves; embeddings are read row by row as they "
      "are needed and are in the time measured)",
      "memory = weights of a layer × layers + output head + peak cache of a layer × layers + working "
      "memory of this run (left out: the embedding, which stays in the model's file)"};
}

}  // namespace kvlab
