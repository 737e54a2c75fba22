// What `kvlab bench` measured: prefills of a model, or of its first layers, under several methods.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/stopwatch.h"

namespace kvlab {

// Bytes are those of weights as packed for products; biases and norms are too small to count.
struct BenchModel {
  std::string name, architecture, weights;  // weights: "random (291 tensors)", or the types of the file
  std::string dtype, kv_dtype;
  int layers = 0, layers_run = 0;  // of the whole model, of this run
  bool layers_alike = true;        // false: some layers have sliding windows, and others another or none
  double layer_flops = 0;          // of one layer's matrix products, per token
  int64_t layer_bytes = 0, head_bytes = 0;
  std::optional<int64_t> embedding_bytes;  // in the file; null: a type whose size is not known here
};

// Matrix products of one layer, or of the output head, without anything around them.
struct BenchProducts {
  int64_t rows = 0;
  Timing timing;  // the median of several
  double flops = 0;
  double per_second() const { return timing.wall > 0 ? flops / timing.wall : 0; }
};

struct BenchRow {
  std::string method, recipe;
  int64_t tokens = 0;
  Timing timing;                          // of the prefill, output head left out
  int64_t cache_end = 0, cache_peak = 0;  // bytes over the layers run; the peak as KvCache::peak_bytes()
  int64_t peak_resident = 0;              // of the process while the row ran; 0: the system does not say
};

struct BenchResult {
  BenchModel model;
  int threads = 1;
  int64_t memory = 0;            // bytes that a run may take
  int64_t resident_before = 0;   // of the process before any weights
  bool own_peaks = true;         // false: peak_resident is that of the process since it began
  BenchProducts products, head;  // of one layer; of the output head
  std::vector<BenchRow> rows;
  bool interrupted = false;
  nlohmann::ordered_json config, environment;
};

}  // namespace kvlab
