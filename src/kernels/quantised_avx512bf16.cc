// quantised_linear with AVX512_BF16's dot products. Codes of 4 bits become bf16 by looking them up: vpermw
// takes the low 5 bits of each word as an index into 32 words, and a table that holds each code's value twice
// makes the fifth bit, which belongs to the next code, mean nothing. A code of 8 bits is 16 times its
// (signed) upper half plus its lower half, two look-ups and two products with the same x.
#include "kernels/avx512bf16.h"
#include "kernels/quantised_layout.h"

#if defined(__x86_64__)

namespace kvlab {
namespace {

// bf16 of first, first + step, ..., 16 values, twice. The values are small integers, so cutting off the lower
// half of a float changes nothing.
KVLAB_AVX512_BF16 inline __m512i table(int first, int step) {
  alignas(64) uint16_t words[32];
  for (int i = 0; i < 32; ++i) {
    const float value = static_cast<float>(first + step * (i % 16));
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    words[i] = static_cast<uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(words);
}

// Upper halves 0..7 count 0, 16, ..., 112 and 8..15 count -128, ..., -16.
KVLAB_AVX512_BF16 inline __m512i signed_upper_halves() {
  const __m512i positive = table(0, 16), negative = table(-256, 16);
  return _mm512_mask_blend_epi16(0xff00ff00u, positive, negative);
}

struct Tables {
  __m512i low, high;  // for even and odd places of 4 bits
};

template <QuantisedType kType>
KVLAB_AVX512_BF16 inline Tables tables() {
  if (kType == QuantisedType::kQ8_0) return {table(0, 1), signed_upper_halves()};
  const __m512i values = table(kType == QuantisedType::kQ4_0 ? -8 : 0, 1);
  return {values, values};
}

KVLAB_AVX512_BF16 inline __m512 load_halves(const std::byte* from) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)));
}

// sums[r] = code times x over one block. Two sums a row, even and odd places, so that fewer additions wait
// for each other.
template <QuantisedType kType, int kRows>
KVLAB_AVX512_BF16 inline void multiply_block(const std::byte* codes, const Tables& values, const std::byte* x,
                                             int64_t x_stride, __m512 (&sums)[kRows]) {
  constexpr int kBits = quantised_layout(kType).bits, kPair = 4;  // bytes of a pair of x
  __m512 even[kRows], odd[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) even[r] = odd[r] = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int line = 0; line < kBits; ++line) {
    const __m512i c = _mm512_load_si512(codes + line * kCacheLine);
    const __m512bh c0 = (__m512bh)_mm512_permutexvar_epi16(c, values.low);
    const __m512bh c1 = (__m512bh)_mm512_permutexvar_epi16(_mm512_srli_epi16(c, 4), values.high);
    const __m512bh c2 = (__m512bh)_mm512_permutexvar_epi16(_mm512_srli_epi16(c, 8), values.low);
    const __m512bh c3 = (__m512bh)_mm512_permutexvar_epi16(_mm512_srli_epi16(c, 12), values.high);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const std::byte* from = x + r * x_stride + line * (16 / kBits) * kPair;
      even[r] = _mm512_dpbf16_ps(even[r], c0, broadcast_pair(from));
      odd[r] = _mm512_dpbf16_ps(odd[r], c1, broadcast_pair(from + 4 / kBits * kPair));
      even[r] = _mm512_dpbf16_ps(even[r], c2, broadcast_pair(from + 8 / kBits * kPair));
      odd[r] = _mm512_dpbf16_ps(odd[r], c3, broadcast_pair(from + 12 / kBits * kPair));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_add_ps(even[r], odd[r]);
}

template <QuantisedType kType, int kRows>
KVLAB_AVX512_BF16 __attribute__((noinline)) void multiply(const QuantisedTile& tile) {
  constexpr QuantisedLayout kLayout = quantised_layout(kType);
  const Tables values = tables<kType>();
  const std::byte* unit = tile.units;
  const std::byte* x = reinterpret_cast<const std::byte*>(tile.x->values.data());
  const int64_t x_stride = tile.x->row_values * 2;
  const float* x_sums = tile.x->sums.data();
  __m512 total[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) total[r] = _mm512_setzero_ps();
  for (int u = 0; u < tile.unit_count; ++u) {
    const std::byte* scales = unit + 2 * kLayout.code_bytes();
#pragma GCC unroll 2
    for (int b = 0; b < 2; ++b) {
      __m512 sums[kRows];
      multiply_block<kType>(unit + b * kLayout.code_bytes(), values, x + b * kBlockInputs * 2, x_stride,
                            sums);
      const __m512 scale = load_halves(scales + b * kCacheLine / 2);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) total[r] = _mm512_fmadd_ps(scale, sums[r], total[r]);
      if (!kLayout.minima) continue;
      const __m512 minimum = load_halves(scales + kCacheLine + b * kCacheLine / 2);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m512 x_sum = _mm512_set1_ps(x_sums[r * tile.x->row_sums + b]);
        total[r] = _mm512_fmadd_ps(minimum, x_sum, total[r]);
      }
    }
    unit += kLayout.unit_bytes();
    x += kUnitInputs * 2;
    x_sums += 2;
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) _mm512_store_ps(tile.sums + r * kQuantisedGroup, total[r]);
}

template <QuantisedType kType>
void multiply_rows(const QuantisedTile& tile) {
  switch (tile.x->rows) {
    case 1:
      return multiply<kType, 1>(tile);
    case 2:
      return multiply<kType, 2>(tile);
    case 3:
      return multiply<kType, 3>(tile);
    default:
      return multiply<kType, kQuantisedRows>(tile);
  }
}

}  // namespace

QuantisedKernel quantised_kernel_avx512bf16(QuantisedType type) {
  static const bool supported = cpu_has_avx512_bf16();
  if (!supported) return nullptr;
  switch (type) {
    case QuantisedType::kQ4_0:
      return multiply_rows<QuantisedType::kQ4_0>;
    case QuantisedType::kQ4_1:
      return multiply_rows<QuantisedType::kQ4_1>;
    case QuantisedType::kQ8_0:
      break;
  }
  return multiply_rows<QuantisedType::kQ8_0>;
}

}  // namespace kvlab

#else

namespace kvlab {
QuantisedKernel quantised_kernel_avx512bf16(QuantisedType) {
  return nullptr;
}
}  // namespace kvlab

#endif
