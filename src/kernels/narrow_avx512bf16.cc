// narrow_linear for bf16 with AVX512_BF16's dot products.
#include "kernels/avx512bf16.h"
#include "kernels/narrow_tile.h"

#if defined(__x86_64__)

namespace kvlab {
namespace {

constexpr int kLanes = 16, kVectors = kNarrowColumns / kLanes, kWord = 4;

// The sums are an array with constant indices only, so that the compiler keeps it in registers.
template <int kRows>
KVLAB_AVX512_BF16 __attribute__((noinline)) void multiply(const NarrowTile& tile) {
  const std::byte* __restrict w = tile.weights;
  const std::byte* __restrict x = tile.x;
  float* __restrict out = tile.sums;
  const int64_t x_stride = tile.x_stride * kWord;
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = tile.start ? _mm512_setzero_ps() : _mm512_load_ps(out + r * kNarrowColumns + v * kLanes);
  for (int t = 0; t < tile.steps; ++t) {
    __m512bh row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = (__m512bh)_mm512_load_si512(w + v * kLanes * kWord);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512bh pair = broadcast_pair(x + r * x_stride);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], row[v], pair);
    }
    w += kNarrowColumns * kWord;
    x += kWord;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_store_ps(out + r * kNarrowColumns + v * kLanes, sums[r][v]);
}

void multiply_tile(const NarrowTile& tile) {
  switch (tile.rows) {
    case 1:
      return multiply<1>(tile);
    case 2:
      return multiply<2>(tile);
    case 3:
      return multiply<3>(tile);
    case 4:
      return multiply<4>(tile);
    case 5:
      return multiply<5>(tile);
    default:
      return multiply<kTileRows>(tile);
  }
}

}  // namespace

NarrowKernel narrow_kernel_bf16() {
  static const NarrowKernel kernel = cpu_has_avx512_bf16() ? multiply_tile : nullptr;
  return kernel;
}

}  // namespace kvlab

#else

namespace kvlab {
NarrowKernel narrow_kernel_bf16() {
  return nullptr;
}
}  // namespace kvlab

#endif
