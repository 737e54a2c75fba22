// What queries that are distributed normally are expected to attend to.
#pragma once

#include <cstdint>

namespace kvlab {

// out[r] = mean.k_r + k_r^T matrix k_r for r < count; k: [count][n], mean: [n], matrix: [n][n], symmetric,
// of which the lower triangle is read.
void normal_logits(const float* mean, const float* matrix, const float* k, int64_t count, int n, float* out);

namespace reference {
void normal_logits(const float* mean, const float* matrix, const float* k, int64_t count, int n, float* out);
}  // namespace reference

}  // namespace kvlab
