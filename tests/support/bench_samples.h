// A bench with numbers that are easy to work with by hand.
#pragma once

#include "results/bench_record.h"

namespace kvlab::testing {

// 2 of 10 layers, one row of 1000 tokens on 2 threads.
inline BenchResult sample_bench() {
  BenchResult result;
  result.model = {.name = "tiny",
                  .architecture = "llama",
                  .weights = "random (20 tensors)",
                  .dtype = "bf16",
                  .kv_dtype = "bf16",
                  .layers = 10,
                  .layers_run = 2,
                  .layers_alike = true,
                  .layer_flops = 1e6,
                  .layer_bytes = 500,
                  .head_bytes = 300,
                  .embedding_bytes = 200};
  result.threads = 2;
  result.memory = 6000;
  result.products = {100, {0.15, 0.24}, 1e8};
  result.head = {50, {0.5, 1.0}, 2e8};
  BenchRow row;
  row.method = "Baseline";
  row.recipe = "none";
  row.tokens = 1000;
  row.timing = {4.0, 6.0};
  row.cache_end = 60;
  row.cache_peak = 80;
  row.peak_resident = 1600;
  result.rows.push_back(row);
  return result;
}

}  // namespace kvlab::testing
