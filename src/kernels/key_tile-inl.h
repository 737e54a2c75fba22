// The product that scoring all live keys comes down to: rows of floats, as they lie, times a panel of two
// vectors per dimension. Included once per SIMD target (hence the toggled guard).
#if defined(KVLAB_KERNELS_KEY_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVLAB_KERNELS_KEY_TILE_INL_H_
#undef KVLAB_KERNELS_KEY_TILE_INL_H_
#else
#define KVLAB_KERNELS_KEY_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kPanelLanes = 2 * kLanes;

// Rows whose sums stay in registers together: 24 of 32 vector registers, or 12 of 16.
#if HWY_ARCH_ARM_A64 || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3)
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif

// sums[r] += sum over c in [from, to) of rows[r * stride + c] times panel[c], r < kRows; panel:
// [to][kPanelLanes]. Every sum runs in the order of c, so a row's result does not depend on its tile.
template <int kRows>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT rows, int64_t stride, const float* HWY_RESTRICT panel,
                              int from, int to, VF (&sums)[kRows][2]) {
  const DF d;
  for (int c = from; c < to; ++c) {
    const VF left = hn::Load(d, panel + c * kPanelLanes),
             right = hn::Load(d, panel + c * kPanelLanes + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const VF x = hn::Set(d, rows[r * stride + c]);
      sums[r][0] = hn::MulAdd(x, left, sums[r][0]);
      sums[r][1] = hn::MulAdd(x, right, sums[r][1]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#endif
