// The two products of attention over pages with AVX512_BF16's dot products, twice as fast as float: vdpbf16ps
// adds the products of two neighbouring bfloat16 values to each float sum. Highway 1.0.3 does not know the
// instruction, hence intrinsics. For page_attention_avx512bf16.cc and attend_entries_avx512bf16.cc only.
//
// Only functions marked KVLAB_AVX512_BF16 may use these instructions. They call no templates of the standard
// library: an instance compiled here could end up serving other callers on older processors. For the same
// reason everything here belongs to the file that includes it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/page_kernels.h"

// GCC 12 warns about its own intrinsics, which leave unused inputs undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define KVLAB_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

namespace kvlab {
namespace {

constexpr int kLanes = 16;
static_assert(kLanes == kPageSlots);
constexpr int kGroupPairs = kGroupColumns / 2;  // pairs of probabilities of a row, of neighbouring slots
constexpr int kPagePairs = kPageSlots / 2;

inline const uint32_t* pairs_at(const void* page) {
  return static_cast<const uint32_t*>(page);
}

// s[r][n-th page] = row r of q times the page's keys. Rows of q are kQueryStride pairs apart. Indices of the
// sums are constants, so that they stay in registers.
template <int kRows, int kN>
KVLAB_AVX512_BF16 __attribute__((noinline)) void score_pages(const uint32_t* __restrict q,
                                                             const void* const* __restrict k, int pairs,
                                                             float* __restrict s, int64_t s_stride) {
  __m512 sums[kRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) sums[r][n] = _mm512_setzero_ps();
  const uint32_t* from[kN];
#pragma GCC unroll 8
  for (int n = 0; n < kN; ++n) from[n] = pairs_at(k[n]);
  for (int64_t i = 0; i < pairs; ++i) {
    __m512bh keys[kN];
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) keys[n] = (__m512bh)_mm512_load_si512(from[n] + i * kPageSlots);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(q[r * kQueryStride + i]);
#pragma GCC unroll 8
      for (int n = 0; n < kN; ++n) sums[r][n] = _mm512_dpbf16_ps(sums[r][n], x, keys[n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) _mm512_store_ps(s + r * s_stride + n * kLanes, sums[r][n]);
}

// kN vectors of out: out[r] = alpha[r] out[r] + row r of p times the values of `pages` pages, both from
// `column` on. Rows of p are kGroupPairs apart. With kSets of 2, every other pair goes to sums of its own.
template <int kRows, int kN, int kSets>
KVLAB_AVX512_BF16 __attribute__((noinline)) void add_values(const uint32_t* __restrict p,
                                                            const void* const* __restrict v, int pages,
                                                            int column, int64_t v_stride,
                                                            const float* __restrict alpha,
                                                            float* __restrict out) {
  out += column;
  __m512 sums[kSets][kRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) {
      sums[kSets - 1][r][n] = _mm512_setzero_ps();
      sums[0][r][n] =
          _mm512_mul_ps(_mm512_load_ps(out + r * v_stride + n * kLanes), _mm512_set1_ps(alpha[r]));
    }
  for (int page = 0; page < pages; ++page) {
    const uint32_t* from = pairs_at(v[page]) + column;
    for (int t = 0; t < kPagePairs; t += kSets) {
#pragma GCC unroll 2
      for (int set = 0; set < kSets; ++set) {
        __m512bh values[kN];
#pragma GCC unroll 4
        for (int n = 0; n < kN; ++n) values[n] = (__m512bh)_mm512_load_si512(from + n * kLanes);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
          const __m512bh x = (__m512bh)_mm512_set1_epi32(p[r * kGroupPairs]);
#pragma GCC unroll 4
          for (int n = 0; n < kN; ++n) sums[set][r][n] = _mm512_dpbf16_ps(sums[set][r][n], x, values[n]);
        }
        from += v_stride;
        ++p;
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n)
      _mm512_store_ps(out + r * v_stride + n * kLanes,
                      kSets == 1 ? sums[0][r][n] : _mm512_add_ps(sums[0][r][n], sums[kSets - 1][r][n]));
}

// Scores of kRows rows against all slots of `pages` pages, kVectors pages at a time.
template <int kRows, int kVectors>
void score_all(const uint32_t* q, const void* const* k, int pages, int pairs, float* s, int64_t s_stride) {
  for (; pages >= kVectors; pages -= kVectors) {
    score_pages<kRows, kVectors>(q, k, pairs, s, s_stride);
    k += kVectors;
    s += kVectors * kPageSlots;
  }
  if (pages >= 4) {
    score_pages<kRows, 4>(q, k, pairs, s, s_stride);
    pages -= 4;
    k += 4;
    s += 4 * kPageSlots;
  }
  if (pages == 3) score_pages<kRows, 3>(q, k, pairs, s, s_stride);
  if (pages == 2) score_pages<kRows, 2>(q, k, pairs, s, s_stride);
  if (pages == 1) score_pages<kRows, 1>(q, k, pairs, s, s_stride);
}

// All columns of out, in panels of vectors as equal as they can be: narrow ones are slow.
template <int kRows, int kSets = 1>
void add_all_values(const uint32_t* p, const void* const* v, int pages, int v_stride, const float* alpha,
                    float* out) {
  const int vectors = v_stride / kLanes, panels = (vectors + 3) / 4;
  for (int panel = 0; panel < panels; ++panel) {
    const int first = vectors * panel / panels, count = vectors * (panel + 1) / panels - first;
    const int column = first * kLanes;
    if (count == 4) add_values<kRows, 4, kSets>(p, v, pages, column, v_stride, alpha, out);
    if (count == 3) add_values<kRows, 3, kSets>(p, v, pages, column, v_stride, alpha, out);
    if (count == 2) add_values<kRows, 2, kSets>(p, v, pages, column, v_stride, alpha, out);
    if (count == 1) add_values<kRows, 1, kSets>(p, v, pages, column, v_stride, alpha, out);
  }
}

// Rounds head_dim floats times `scale` to pairs.
KVLAB_AVX512_BF16 inline void narrow_query(const float* in, int head_dim, float scale, uint32_t* out) {
  for (int i = 0; i < head_dim; i += kLanes) {
    const int rest = head_dim - i;
    const __mmask16 mask = rest >= kLanes ? 0xffff : (1u << rest) - 1;
    const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, in + i), _mm512_set1_ps(scale));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i / 2), (__m256i)_mm512_cvtneps_pbh(x));
  }
}

}  // namespace
}  // namespace kvlab
