// narrow_linear in float on every Highway target.
#include "kernels/simd_targets.h"
//
#include "kernels/narrow_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/narrow_f32.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

// Vectors of weights at a time: with 32 registers 6 x 4 sums fit, with 16 registers 6 x 2.
constexpr int kVectors = kLanes >= 16 ? 4 : 2;
constexpr int kWidth = kVectors * kLanes;
static_assert(kNarrowColumns % kWidth == 0);

// kRows rows times kWidth columns from `column` on. The sums are an array with constant indices only, so that
// the compiler keeps it in registers.
template <int kRows>
HWY_NOINLINE void multiply(const NarrowTile& tile, int column) {
  const DF d;
  const float* HWY_RESTRICT w = reinterpret_cast<const float*>(tile.weights) + column;
  const float* HWY_RESTRICT x = reinterpret_cast<const float*>(tile.x);
  float* HWY_RESTRICT out = tile.sums + column;
  VF sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = tile.start ? hn::Zero(d) : hn::Load(d, out + r * kNarrowColumns + v * kLanes);
  for (int t = 0; t < tile.steps; ++t) {
    VF row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::Load(d, w + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const VF value = hn::Set(d, x[r * tile.x_stride + t]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(value, row[v], sums[r][v]);
    }
    w += kNarrowColumns;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, out + r * kNarrowColumns + v * kLanes);
}

template <int kRows>
void multiply_rows(const NarrowTile& tile) {
  for (int column = 0; column < kNarrowColumns; column += kWidth) multiply<kRows>(tile, column);
}

void multiply_tile(const NarrowTile& tile) {
  switch (tile.rows) {
    case 1:
      return multiply_rows<1>(tile);
    case 2:
      return multiply_rows<2>(tile);
    case 3:
      return multiply_rows<3>(tile);
    case 4:
      return multiply_rows<4>(tile);
    case 5:
      return multiply_rows<5>(tile);
    default:
      return multiply_rows<kTileRows>(tile);
  }
}

NarrowKernel kernel() {
  return multiply_tile;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(kernel);
NarrowKernel narrow_kernel_f32() {
  return HWY_DYNAMIC_DISPATCH(kernel)();
}
}  // namespace kvlab
#endif
