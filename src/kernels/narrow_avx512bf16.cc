// narrow_linear for bf16 with AVX512_BF16's dot products (see attention_avx512bf16.cc): vdpbf16ps adds the
// products of a pair of inputs to each column's float sum.
#include "kernels/narrow_tile.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

// GCC 12 warns about its own intrinsics, which leave unused inputs undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace kvlab {
namespace {

#define KVLAB_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

constexpr int kLanes = 16, kVectors = kNarrowColumns / kLanes, kWord = 4;

KVLAB_AVX512_BF16 inline __m512bh broadcast_pair(const std::byte* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

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

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

}  // namespace

NarrowKernel narrow_kernel_bf16() {
  static const NarrowKernel kernel = supported() ? multiply_tile : nullptr;
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
