// Arithmetic of scorers and budgets over the slots of one head.
#pragma once

#include <cstdint>

namespace kvlab {

// sums[i] += scale * sum over g of weights[g * stride + i], for i < n; heads are added in order.
void add_weights(const float* weights, int64_t stride, int group, int n, float scale, float* sums);
void add_weights_reference(const float* weights, int64_t stride, int group, int n, float scale, float* sums);

struct LeastEntry {
  int32_t slot;  // -1: none
  int32_t open;
};
// Among slots with sinks <= position < window_start: how many there are, and the one of least score; of equal
// scores the lower position. A NaN is not less than anything: it is taken only where there are only NaNs.
LeastEntry least_open(const float* scores, const int32_t* positions, int n, int64_t sinks,
                      int64_t window_start);
LeastEntry least_open_reference(const float* scores, const int32_t* positions, int n, int64_t sinks,
                                int64_t window_start);

}  // namespace kvlab
