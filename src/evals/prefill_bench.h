// Measures prefills of random tokens: time and memory of a model, or of its first layers, under several
// methods. What a model has learned does not matter here, so weights may be random (models/random_model.h).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/progress.h"
#include "cache/method.h"
#include "models/config.h"
#include "results/bench_record.h"
#include "tensor/dtype.h"

namespace kvlab {

struct BenchOptions {
  std::vector<int64_t> lengths;  // tokens of a prefill; every method runs at every length
  DType type = DType::kF32, kv_type = DType::kF32;
  int layers = 0;      // of the whole model; the settings of `files` are those of the run
  int64_t memory = 0;  // bytes that the process may take
  uint64_t seed = 0;   // of the token ids
};

// Hidden states are dropped block by block, so memory does not grow with the text but for the caches. Recipes
// that act at the end of a context act after the last token. Once stop_requested(), rows that are finished
// stay and the rest is left out. Throws UserError where the weights alone take more than `memory`, and for
// planned methods, which need a document.
BenchResult bench_prefills(const ModelFiles& files, std::span<const std::shared_ptr<const Method>> methods,
                           const BenchOptions& options, Progress& progress);

}  // namespace kvlab
