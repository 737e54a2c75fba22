// What files with AVX512_BF16 intrinsics share. Highway 1.0.3 does not know vdpbf16ps, which adds the
// products of two neighbouring bf16 values to each float sum.
//
// Only functions marked KVLAB_AVX512_BF16 may use the instructions. They call no templates of the standard
// library: an instance compiled there could end up serving other callers on older processors.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstring>

// GCC 12 warns about its own intrinsics, which leave unused inputs undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define KVLAB_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

namespace kvlab {

inline bool cpu_has_avx512_bf16() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

// A pair of bf16 in every lane.
KVLAB_AVX512_BF16 inline __m512bh broadcast_pair(const std::byte* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

}  // namespace kvlab

#endif
