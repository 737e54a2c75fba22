// Peak of bfloat16 dot products. Highway 1.0.3 does not know the instruction, hence intrinsics.
#include "bench/roofline/peak_loops.h"

#if defined(__x86_64__)

#include <immintrin.h>

// GCC 12 warns about its own intrinsics, which leave unused inputs undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace kvlab::roofline {

namespace {

constexpr int kChains = 24, kLanes = 16;

}  // namespace

bool has_bf16_instructions() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
}

int64_t flops_per_step_bf16() {
  return int64_t{4} * kChains * kLanes;  // a pair is two multiplications and two additions
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) float multiply_add_bf16(int64_t steps) {
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f80);  // 1.0
  const __m512bh y = (__m512bh)_mm512_set1_epi16(0x3c00);  // 2^-7
  __m512 sums[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
  }
  __m512 total = _mm512_setzero_ps();
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_reduce_add_ps(total);
}

}  // namespace kvlab::roofline

#else

namespace kvlab::roofline {
bool has_bf16_instructions() {
  return false;
}
int64_t flops_per_step_bf16() {
  return 0;
}
float multiply_add_bf16(int64_t) {
  return 0;
}
}  // namespace kvlab::roofline

#endif
