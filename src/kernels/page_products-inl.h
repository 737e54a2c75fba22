// The two products of attention over pages, queries with keys and probabilities with values, for every
// Highway target. Included once per target, hence the guard that toggles.
//
// Entries are float, or bfloat16 in pairs that uint32_t stands for: pairs of neighbouring elements (keys) or
// slots (values). One step takes two elements or slots; both are turned into floats on the way.
#if defined(KVLAB_KERNELS_PAGE_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVLAB_KERNELS_PAGE_PRODUCTS_INL_H_
#undef KVLAB_KERNELS_PAGE_PRODUCTS_INL_H_
#else
#define KVLAB_KERNELS_PAGE_PRODUCTS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/attention_simd-inl.h"
#include "kernels/page_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {

// Vectors of sums per row: with 32 registers 6 x 4 fit, with 16 registers 6 x 2.
inline constexpr int kVectors = kLanes >= 16 ? 4 : 2;
inline constexpr int kPageVectors = kPageSlots / kLanes;

// The first and the second of two; `gap` is their distance in floats.
HWY_INLINE VF load_first(const float* from) {
  return hn::Load(DF(), from);
}
HWY_INLINE VF load_second(const float* from, int gap) {
  return hn::Load(DF(), from + gap);
}
HWY_INLINE VF load_first(const uint32_t* from) {
  const hn::RebindToUnsigned<DF> du;
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::Load(du, from)));
}
HWY_INLINE VF load_second(const uint32_t* from, int) {
  const hn::RebindToUnsigned<DF> du;
  return hn::BitCast(DF(), hn::And(hn::Load(du, from), hn::Set(du, 0xffff0000u)));
}
// By how much a step moves when a row of one element or slot has `width` numbers.
template <typename T>
constexpr int step_size(int width) {
  return sizeof(T) == sizeof(float) && std::is_floating_point_v<T> ? 2 * width : width;
}

// sums[r][n] += a[r] times b[n]
template <int kRows, int kN>
HWY_INLINE void add_products(const float* HWY_RESTRICT a, int64_t a_stride, const VF (&b)[kN],
                             VF (&sums)[kRows][kN]) {
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    const VF x = hn::Set(DF(), a[r * a_stride]);
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) sums[r][n] = hn::MulAdd(x, b[n], sums[r][n]);
  }
}

// s[r][n-th vector] = row r of q times the keys at k[n]. Indices of sums are constants, so that the compiler
// keeps them in registers.
template <int kRows, int kN, typename T>
HWY_NOINLINE void score_vectors(const float* HWY_RESTRICT q, const T* const* HWY_RESTRICT k, int head_dim,
                                float* HWY_RESTRICT s, int64_t s_stride) {
  const DF d;
  VF sums[kRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) sums[r][n] = hn::Zero(d);
  const T* from[kN];
#pragma GCC unroll 4
  for (int n = 0; n < kN; ++n) from[n] = k[n];
  for (int i = 0; i < head_dim; i += 2, q += 2) {
    VF keys[kN];
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) keys[n] = load_first(from[n]);
    add_products(q, kQueryStride, keys, sums);
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) keys[n] = load_second(from[n], kPageSlots);
    add_products(q + 1, kQueryStride, keys, sums);
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) from[n] += step_size<T>(kPageSlots);
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) hn::Store(sums[r][n], d, s + r * s_stride + n * kLanes);
}

// kN vectors of out, from `column` on: out[r] = alpha[r] out[r] + row r of p times the values of `pages`
// pages.
template <int kRows, int kN, typename T>
HWY_NOINLINE void add_value_vectors(const float* HWY_RESTRICT p, int64_t p_stride, const void* const* v,
                                    int pages, int column, int v_stride, const float* HWY_RESTRICT alpha,
                                    float* HWY_RESTRICT out) {
  const DF d;
  out += column;
  VF sums[kRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n)
      sums[r][n] = hn::Mul(hn::Load(d, out + r * v_stride + n * kLanes), hn::Set(d, alpha[r]));
  for (int page = 0; page < pages; ++page) {
    const T* from = static_cast<const T*>(v[page]) + column;
    for (int slot = 0; slot < kPageSlots; slot += 2, p += 2) {
      VF values[kN];
#pragma GCC unroll 4
      for (int n = 0; n < kN; ++n) values[n] = load_first(from + n * kLanes);
      add_products(p, p_stride, values, sums);
#pragma GCC unroll 4
      for (int n = 0; n < kN; ++n) values[n] = load_second(from + n * kLanes, v_stride);
      add_products(p + 1, p_stride, values, sums);
      from += step_size<T>(v_stride);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) hn::Store(sums[r][n], d, out + r * v_stride + n * kLanes);
}

// Scores of kRows rows against all slots of `pages` pages.
template <int kRows, typename T>
void score_pages(const float* q, const void* const* k, int pages, int head_dim, float* s, int64_t s_stride) {
  const int vectors = pages * kPageVectors;
  for (int first = 0; first < vectors; first += kVectors) {
    const T* from[kVectors];
    const int count = std::min(kVectors, vectors - first);
    for (int n = 0; n < count; ++n)
      from[n] = static_cast<const T*>(k[(first + n) / kPageVectors]) + (first + n) % kPageVectors * kLanes;
    float* to = s + first * kLanes;
    switch (count) {
      case 1:
        score_vectors<kRows, 1>(q, from, head_dim, to, s_stride);
        break;
      case 2:
        score_vectors<kRows, 2>(q, from, head_dim, to, s_stride);
        break;
      case 3:
        score_vectors<kRows, std::min(3, kVectors)>(q, from, head_dim, to, s_stride);
        break;
      default:
        score_vectors<kRows, kVectors>(q, from, head_dim, to, s_stride);
    }
  }
}

// All columns of out, in panels of vectors as equal as they can be: narrow ones are slow.
template <int kRows, typename T>
void add_values(const float* p, int64_t p_stride, const void* const* v, int pages, int v_stride,
                const float* alpha, float* out) {
  const int vectors = v_stride / kLanes, panels = (vectors + kVectors - 1) / kVectors;
  for (int panel = 0; panel < panels; ++panel) {
    const int first = vectors * panel / panels, count = vectors * (panel + 1) / panels - first;
    const int column = first * kLanes;
    switch (count) {
      case 1:
        add_value_vectors<kRows, 1, T>(p, p_stride, v, pages, column, v_stride, alpha, out);
        break;
      case 2:
        add_value_vectors<kRows, 2, T>(p, p_stride, v, pages, column, v_stride, alpha, out);
        break;
      case 3:
        add_value_vectors<kRows, std::min(3, kVectors), T>(p, p_stride, v, pages, column, v_stride, alpha,
                                                           out);
        break;
      default:
        add_value_vectors<kRows, kVectors, T>(p, p_stride, v, pages, column, v_stride, alpha, out);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#endif
