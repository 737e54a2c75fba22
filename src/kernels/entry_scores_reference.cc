// The functions of entry_scores.h in plain loops; the tests' reference.
#include <cmath>

#include "kernels/entry_scores.h"

namespace kvlab {
namespace {

// Whether entry a goes before b. NaNs come last.
bool goes_before(float a, int32_t position_a, float b, int32_t position_b) {
  if (std::isnan(a) != std::isnan(b)) return std::isnan(b);
  if (a < b || b < a) return a < b;
  return position_a < position_b;
}

}  // namespace

void add_weights_reference(const float* weights, int64_t stride, int group, int n, float scale, float* sums) {
  for (int i = 0; i < n; ++i) {
    float sum = 0;
    for (int g = 0; g < group; ++g) sum += weights[g * stride + i];
    sums[i] += scale * sum;
  }
}

LeastEntry least_open_reference(const float* scores, const int32_t* positions, int n, int64_t sinks,
                                int64_t window_start) {
  LeastEntry least{-1, 0};
  for (int i = 0; i < n; ++i) {
    if (positions[i] < sinks || positions[i] >= window_start) continue;
    ++least.open;
    if (least.slot < 0 || goes_before(scores[i], positions[i], scores[least.slot], positions[least.slot]))
      least.slot = i;
  }
  return least;
}

}  // namespace kvlab
