// Figures of a bench: what was measured per layer, and what follows for the whole model.
#pragma once

#include "results/bench_record.h"

namespace kvlab {

struct BenchFigures {
  double tokens_per_second = 0;
  double layer_seconds = 0;          // wall time over the layers run
  double cpu_share = 0;              // processor time over wall time and threads: 1 is all there is
  double share_of_products = 0;      // time that the products alone would take, over the time taken
  double cpu_share_of_products = 0;  // the same of processor time, which other programs disturb less
  double layer_cache_end = 0, layer_cache_peak = 0;
  int64_t weights = 0;  // of this run: layers and output head
  // Activations, the program itself and what the allocator holds: peak resident less weights and the cache's
  // peak; not below 0.
  int64_t working = 0;
  double over_accounted = 0;  // peak resident over weights and the cache's peak, less 1
  bool inside_memory = true;  // the peak resident
  // Of all layers: time × layers / layers run; weights and caches by layer, the head and the working memory
  // once. The embedding stays in the file.
  double whole_seconds = 0, whole_head_seconds = 0;  // the head: if all tokens were scored
  double whole_cache = 0, whole_memory = 0;
  bool whole_inside_memory = true;
};

BenchFigures bench_figures(const BenchResult& result, const BenchRow& row);

// How the figures of the whole model are made, a line each.
std::vector<std::string> bench_formulas();

}  // namespace kvlab
