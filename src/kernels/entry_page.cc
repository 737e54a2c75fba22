// Entries into pages and out of them. Whole pages go by blocks of 4 x 4 numbers (or pairs of bfloat16), which
// are transposed in registers; single entries and remainders go one number at a time.
#include "kernels/simd_targets.h"
//
#include <cassert>
#include <cstring>

#include "kernels/entry_page.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/entry_page.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

namespace hn = hwy::HWY_NAMESPACE;

// Bits of floats, or pairs of bfloat16 in memory's order.
using DU = hn::CappedTag<uint32_t, 16>;
using DU4 = hn::CappedTag<uint32_t, 4>;
constexpr int kWide = static_cast<int>(HWY_LANES(uint32_t) < 16 ? HWY_LANES(uint32_t) : 16);

// to_bf16 of kernels' floats: the rounded number in the upper half, rubbish in the lower.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V round_to_upper(D d, V x) {
  const V odd = hn::And(hn::ShiftRight<16>(x), hn::Set(d, 1));
  const V rounded = hn::Add(x, hn::Add(odd, hn::Set(d, 0x7fff)));
  const auto is_nan = hn::Gt(hn::And(x, hn::Set(d, 0x7fffffff)), hn::Set(d, 0x7f800000));
  return hn::IfThenElse(is_nan, hn::Or(x, hn::Set(d, 0x400000)), rounded);
}

// Pairs (first, second) of bfloat16.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V make_pairs(D d, V first, V second) {
  return hn::Or(hn::ShiftRight<16>(round_to_upper(d, first)),
                hn::And(round_to_upper(d, second), hn::Set(d, 0xffff0000u)));
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void transpose_four(const uint32_t* from, int64_t from_stride, uint32_t* to, int64_t to_stride) {
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 4; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}
#else
HWY_INLINE void transpose_four(const uint32_t* from, int64_t from_stride, uint32_t* to, int64_t to_stride) {
  const DU4 d;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + from_stride);
  const auto r2 = hn::LoadU(d, from + 2 * from_stride), r3 = hn::LoadU(d, from + 3 * from_stride);
  const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3);
  const auto even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
  hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
  hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + to_stride);
  hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * to_stride);
  hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * to_stride);
}
#endif

// to[c][r] = from[r][c]
void transpose(const uint32_t* from, int64_t from_stride, int64_t rows, int64_t columns, uint32_t* to,
               int64_t to_stride) {
  const auto one = [&](int64_t r, int64_t c) { to[c * to_stride + r] = from[r * from_stride + c]; };
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t r = 0; r < whole_rows; r += 4)
    for (int64_t c = 0; c < whole_columns; c += 4)
      transpose_four(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
  for (int64_t r = 0; r < whole_rows; ++r)
    for (int64_t c = whole_columns; c < columns; ++c) one(r, c);
  for (int64_t r = whole_rows; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) one(r, c);
}

// A row of 2 * pairs floats as pairs of neighbours.
void narrow_row(const float* from, int pairs, uint32_t* to) {
  const auto* bits = reinterpret_cast<const uint32_t*>(from);
  int i = 0;
#if HWY_TARGET != HWY_SCALAR
  const DU d;
  for (; i + kWide <= pairs; i += kWide) {
    const auto a = hn::LoadU(d, bits + 2 * i), b = hn::LoadU(d, bits + 2 * i + kWide);
    hn::StoreU(make_pairs(d, hn::ConcatEven(d, b, a), hn::ConcatOdd(d, b, a)), d, to + i);
  }
#endif
  const hn::CappedTag<uint32_t, 1> d1;
  for (; i < pairs; ++i)
    hn::StoreU(make_pairs(d1, hn::LoadU(d1, bits + 2 * i), hn::LoadU(d1, bits + 2 * i + 1)), d1, to + i);
}

// One element each of two slots.
template <class D>
HWY_INLINE void pair_values(D d, const float* first, const float* second, uint32_t* to) {
  const auto a = hn::LoadU(d, reinterpret_cast<const uint32_t*>(first));
  const auto b = hn::LoadU(d, reinterpret_cast<const uint32_t*>(second));
  hn::StoreU(make_pairs(d, a, b), d, to);
}

void write_value_pair(const float* first, const float* second, int head_dim, uint32_t* to) {
  const DU d;
  const hn::CappedTag<uint32_t, 1> d1;
  int i = 0;
  for (; i + kWide <= head_dim; i += kWide) pair_values(d, first + i, second + i, to + i);
  for (; i < head_dim; ++i) pair_values(d1, first + i, second + i, to + i);
}

void write_narrow_keys(const float* k, int64_t stride, int rows, int first_slot, int head_dim,
                       uint32_t* page) {
  constexpr int kMostPairs = 128;
  uint32_t pairs[kPageSlots * kMostPairs];
  assert(head_dim / 2 <= kMostPairs);
  for (int r = 0; r < rows; ++r) narrow_row(k + r * stride, head_dim / 2, pairs + r * kMostPairs);
  transpose(pairs, kMostPairs, rows, head_dim / 2, page + first_slot, kPageSlots);
}

void write_one_value(const float* v, int slot, int head_dim, BF16* page) {
  BF16* to = page + value_element(DType::kBF16, slot, 0, head_dim);
  for (int i = 0; i < head_dim; ++i) to[2 * i] = to_bf16(v[i]);
}

void write_narrow_values(const float* v, int64_t stride, int rows, int first_slot, int head_dim, BF16* page) {
  int r = 0;
  if (first_slot % 2 && rows > 0) write_one_value(v + r++ * stride, first_slot, head_dim, page);
  for (; r + 2 <= rows; r += 2)
    write_value_pair(
        v + r * stride, v + (r + 1) * stride, head_dim,
        reinterpret_cast<uint32_t*>(page + value_element(DType::kBF16, first_slot + r, 0, head_dim)));
  if (r < rows) write_one_value(v + r * stride, first_slot + r, head_dim, page);
}

void write_entries_simd(const float* k, const float* v, int64_t stride, int rows, int first_slot,
                        int head_dim, DType type, PageData page) {
  if (type == DType::kBF16) {
    write_narrow_keys(k, stride, rows, first_slot, head_dim, static_cast<uint32_t*>(page.k));
    write_narrow_values(v, stride, rows, first_slot, head_dim, static_cast<BF16*>(page.v));
    return;
  }
  transpose(reinterpret_cast<const uint32_t*>(k), stride, rows, head_dim,
            static_cast<uint32_t*>(page.k) + first_slot, kPageSlots);
  for (int r = 0; r < rows; ++r)
    std::memcpy(static_cast<float*>(page.v) + value_element(type, first_slot + r, 0, head_dim),
                v + r * stride, head_dim * sizeof(float));
}

// Pairs of bfloat16 as floats, the first ones and the second ones.
void widen_row(const uint32_t* pairs, int count, float* first, float* second, int step) {
  for (int i = 0; i < count; ++i) {
    const uint32_t low = pairs[i] << 16, high = pairs[i] & 0xffff0000u;
    std::memcpy(first + i * step, &low, sizeof low);
    std::memcpy(second + i * step, &high, sizeof high);
  }
}

void read_keys(const void* page, int head_dim, DType type, int64_t stride, float* k) {
  const auto* from = static_cast<const uint32_t*>(page);
  if (type == DType::kF32)
    return transpose(from, kPageSlots, head_dim, kPageSlots, reinterpret_cast<uint32_t*>(k), stride);
  constexpr int kMostPairs = 128;
  uint32_t pairs[kPageSlots * kMostPairs];
  transpose(from, kPageSlots, head_dim / 2, kPageSlots, pairs, kMostPairs);
  for (int r = 0; r < kPageSlots; ++r)
    widen_row(pairs + r * kMostPairs, head_dim / 2, k + r * stride, k + r * stride + 1, 2);
}

void read_values(const void* page, int head_dim, DType type, int64_t stride, float* v) {
  const int step = value_stride(head_dim);
  for (int slot = 0; slot < kPageSlots; slot += 2) {
    float *first = v + slot * stride, *second = first + stride;
    if (type == DType::kF32) {
      const float* from = static_cast<const float*>(page) + slot * step;
      std::memcpy(first, from, head_dim * sizeof(float));
      std::memcpy(second, from + step, head_dim * sizeof(float));
    } else {
      widen_row(static_cast<const uint32_t*>(page) + slot / 2 * step, head_dim, first, second, 1);
    }
  }
}

void read_page_simd(ConstPageData page, int head_dim, DType type, int64_t stride, float* k, float* v) {
  if (k) read_keys(page.k, head_dim, type, stride, k);
  if (v) read_values(page.v, head_dim, type, stride, v);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(write_entries_simd);
HWY_EXPORT(read_page_simd);
namespace {

float element(const void* page, size_t index, DType type) {
  return type == DType::kF32 ? static_cast<const float*>(page)[index]
                             : to_float(static_cast<const BF16*>(page)[index]);
}

}  // namespace

void write_entries(const float* k, const float* v, int64_t stride, int rows, int first_slot, int head_dim,
                   DType type, PageData page) {
  assert(head_dim % 2 == 0 && first_slot >= 0 && rows >= 0 && first_slot + rows <= kPageSlots);
  HWY_DYNAMIC_DISPATCH(write_entries_simd)(k, v, stride, rows, first_slot, head_dim, type, page);
}

void read_entry(ConstPageData page, int slot, int head_dim, DType type, float* k, float* v) {
  for (int i = 0; k && i < head_dim; ++i) k[i] = element(page.k, key_element(type, slot, i), type);
  for (int i = 0; v && i < head_dim; ++i)
    v[i] = element(page.v, value_element(type, slot, i, head_dim), type);
}

void read_page(ConstPageData page, int head_dim, DType type, int64_t stride, float* k, float* v) {
  HWY_DYNAMIC_DISPATCH(read_page_simd)(page, head_dim, type, stride, k, v);
}

void copy_entry(ConstPageData from, int from_slot, PageData to, int to_slot, int head_dim, DType type) {
  // Keys lie in units of 32 bits, a float or a pair.
  const int units = type == DType::kF32 ? head_dim : head_dim / 2;
  for (int i = 0; i < units; ++i)
    static_cast<uint32_t*>(to.k)[i * kPageSlots + to_slot] =
        static_cast<const uint32_t*>(from.k)[i * kPageSlots + from_slot];
  const size_t at = value_element(type, from_slot, 0, head_dim),
               to_at = value_element(type, to_slot, 0, head_dim);
  if (type == DType::kF32) {
    std::memcpy(static_cast<float*>(to.v) + to_at, static_cast<const float*>(from.v) + at,
                head_dim * sizeof(float));
    return;
  }
  const BF16* v = static_cast<const BF16*>(from.v) + at;
  BF16* to_v = static_cast<BF16*>(to.v) + to_at;
  for (int i = 0; i < head_dim; ++i) to_v[2 * i] = v[2 * i];
}

}  // namespace kvlab
#endif
