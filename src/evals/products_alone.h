// The matrix products of a layer and of the output head alone: what a prefill is compared with.
#pragma once

#include <cstdint>

#include "base/progress.h"
#include "models/model.h"
#include "results/bench_record.h"

namespace kvlab {

// The products of one layer over `rows` tokens, in blocks of rows shared out among the threads as the model
// does; random weights of the settings' sizes, which are gone afterwards. The median of three.
BenchProducts layer_products_alone(const ModelConfig& config, DType type, int64_t rows, Progress& progress);

// The output head's logits of a block of positions for each thread; nothing is done with them.
BenchProducts head_products_alone(const Model& model);

}  // namespace kvlab
