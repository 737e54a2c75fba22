// Rates of everything in a layer but its matrix products.
#pragma once

#include "bench/roofline/peaks.h"

namespace kvlab::roofline {

// Attention of one KV head and its query heads a thread. The only use of attention kernels in this program.
std::vector<Json> attention_rates(const ModelConfig& config, DType type, int threads, const Peaks& peaks);
// Norm, rotary embedding, SiLU and residual over a block of 64 rows a thread, which its caches hold.
std::vector<Json> row_rates(const ModelConfig& config, int threads, const Peaks& peaks);

}  // namespace kvlab::roofline
