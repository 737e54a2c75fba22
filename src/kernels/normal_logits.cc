// The matrix is symmetric, so k^T M k is k^T T k with the lower triangle T that has its entries below the
// diagonal doubled: columns go in panels of two vectors, and a panel's product begins at its first row.
#include "kernels/normal_logits.h"

#include <algorithm>
#include <cstring>

#include "kernels/simd_targets.h"
#include "tensor/buffer.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/normal_logits.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/key_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

// T's columns [column, column + kPanelLanes), zeros past n: [n][kPanelLanes], of which rows from `column` on.
void pack_panel(const float* matrix, int n, int column, float* panel) {
  for (int i = column; i < n; ++i) {
    float* to = panel + i * kPanelLanes;
    std::fill_n(to, kPanelLanes, 0.0f);
    const float* from = matrix + static_cast<int64_t>(i) * n + column;
    const int below = std::min(i - column, kPanelLanes);
    for (int j = 0; j < below; ++j) to[j] = 2 * from[j];
    if (below < kPanelLanes) to[below] = from[below];
  }
}

// x[column ...], zeros past n.
HWY_INLINE VF load_columns(const float* x, int n, int column) {
  const DF d;
  if (column + kLanes <= n) return hn::LoadU(d, x + column);
  HWY_ALIGN float lanes[kLanes] = {};
  if (column < n) std::memcpy(lanes, x + column, static_cast<size_t>(n - column) * sizeof(float));
  return hn::Load(d, lanes);
}

// The logits of kRows keys. packed: all panels.
template <int kRows>
HWY_INLINE void logits_of_tile(const float* mean, const float* packed, const float* keys, int n, float* out) {
  const DF d;
  VF totals[kRows];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) totals[r] = hn::Zero(d);
  for (int left = 0; left < n; left += kPanelLanes, packed += n * kPanelLanes) {
    const int right = left + kLanes;
    VF sums[kRows][2];
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = load_columns(mean, n, left);
      sums[r][1] = load_columns(mean, n, right);
    }
    multiply_tile<kRows>(keys, n, packed, left, n, sums);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      totals[r] = hn::MulAdd(sums[r][0], load_columns(keys + r * n, n, left), totals[r]);
      totals[r] = hn::MulAdd(sums[r][1], load_columns(keys + r * n, n, right), totals[r]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) out[r] = hn::GetLane(hn::SumOfLanes(d, totals[r]));
}

void NormalLogits(const float* mean, const float* matrix, const float* k, int64_t count, int n, float* out) {
  const int panels = (n + kPanelLanes - 1) / kPanelLanes;
  Buffer<float> packed(static_cast<size_t>(panels) * n * kPanelLanes);
  for (int p = 0; p < panels; ++p)
    pack_panel(matrix, n, p * kPanelLanes, packed.data() + p * n * kPanelLanes);
  if (count < kTileRows) {
    for (int64_t r = 0; r < count; ++r) logits_of_tile<1>(mean, packed.data(), k + r * n, n, out + r);
    return;
  }
  for (int64_t first = 0; first < count; first += kTileRows) {
    const int64_t r = std::min(first, count - kTileRows);  // the last tile is moved back
    logits_of_tile<kTileRows>(mean, packed.data(), k + r * n, n, out + r);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(NormalLogits);

void normal_logits(const float* mean, const float* matrix, const float* k, int64_t count, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(NormalLogits)(mean, matrix, k, count, n, out);
}

namespace reference {

void normal_logits(const float* mean, const float* matrix, const float* k, int64_t count, int n, float* out) {
  for (int64_t r = 0; r < count; ++r) {
    const float* x = k + r * n;
    double sum = 0;
    for (int i = 0; i < n; ++i) {
      sum += static_cast<double>(mean[i]) * x[i];
      for (int j = 0; j < n; ++j) {
        const int64_t entry = static_cast<int64_t>(std::max(i, j)) * n + std::min(i, j);
        sum += static_cast<double>(x[i]) * matrix[entry] * x[j];
      }
    }
    out[r] = static_cast<float>(sum);
  }
}

}  // namespace reference
}  // namespace kvlab
#endif  // HWY_ONCE
