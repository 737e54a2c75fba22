// lifetime_attention with AVX512_BF16's dot products, twice as fast as float: vdpbf16ps adds the products of
// two neighbouring bfloat16 values to each float sum. Highway 1.0.3 does not know the instruction, hence
// intrinsics.
//
// The packed forms are those of attention_f32.cc with pairs of bfloat16 in place of floats: of neighbouring
// elements of the head for Q and K, of neighbouring columns for probabilities and V. Everything is rounded to
// nearest even.
//
// Only the functions marked KVLAB_AVX512_BF16 may use these instructions. They call no templates of the
// standard library: an instance compiled here could end up serving other callers on older processors.
#include "kernels/attention_block.h"

#if defined(__x86_64__)

#include <immintrin.h>

// GCC 12 warns about its own intrinsics, which leave unused inputs undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace kvlab {
namespace {

#define KVLAB_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

constexpr int kLanes = 16, kVectors = 4, kPanel = kVectors * kLanes;
constexpr int kPairs = kGroupEntries / 2;

// Both count pairs, which are as large as floats.
size_t q_floats(int strips, int head_dim) {
  return static_cast<size_t>(strips) * kStripRows * head_dim / 2;
}
size_t kv_floats(int head_dim) {
  const int padded = (head_dim + kPanel - 1) / kPanel * kPanel;
  return static_cast<size_t>(kGroupEntries) * padded / 2;
}

// c[6][kN vectors] = (kAdd ? diag(alpha) c : 0) + A b for `steps` steps of one pair. A's row r at step t is
// a[r * kRow + t * kStep], b's row t is kPanel long. Indices of the sums are constants, so that they stay in
// registers.
template <int kN, int kRow, int kStep, bool kAdd>
KVLAB_AVX512_BF16 __attribute__((noinline)) void multiply(const float* __restrict a,
                                                          const float* __restrict b, int steps,
                                                          float* __restrict c, int64_t c_stride,
                                                          const float* __restrict alpha) {
  __m512 sums[kStripRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kStripRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n)
      sums[r][n] =
          kAdd ? _mm512_mul_ps(_mm512_load_ps(c + r * c_stride + n * kLanes), _mm512_set1_ps(alpha[r]))
               : _mm512_setzero_ps();
  for (int t = 0; t < steps; ++t) {
    __m512bh row[kN];
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) row[n] = (__m512bh)_mm512_load_ps(b + n * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kStripRows; ++r) {
      const __m512bh x = (__m512bh)_mm512_set1_ps(a[r * kRow]);
#pragma GCC unroll 4
      for (int n = 0; n < kN; ++n) sums[r][n] = _mm512_dpbf16_ps(sums[r][n], x, row[n]);
    }
    a += kStep;
    b += kPanel;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kStripRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) _mm512_store_ps(c + r * c_stride + n * kLanes, sums[r][n]);
}

template <int kRow, int kStep, bool kAdd>
void multiply_any(int vectors, const float* a, const float* b, int steps, float* c, int64_t c_stride,
                  const float* alpha) {
  switch (vectors) {
    case 1:
      return multiply<1, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    case 2:
      return multiply<2, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    case 3:
      return multiply<3, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    default:
      return multiply<4, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
  }
}

KVLAB_AVX512_BF16 void pack_queries(const BlockState& state) {
  const QueryBlock& block = state.block;
  const __m512 scale = _mm512_set1_ps(block.scale * kLog2E);
  const int pairs = block.head_dim / 2;
  alignas(64) uint32_t narrow[kMaxHeadDim / 2] = {};
  for (int row = 0; row < state.strips * kStripRows; ++row) {
    // Rows that only fill up the last strip repeat the last real one.
    const int from = row < state.rows ? row : state.rows - 1;
    const float* in = block.q + (from / block.group) * block.q_row + (from % block.group) * block.q_head;
    for (int i = 0; i < block.head_dim; i += kLanes) {
      const int rest = block.head_dim - i;
      const __mmask16 mask = rest >= kLanes ? 0xffff : (1u << rest) - 1;
      const __m256bh x = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, in + i), scale));
      _mm256_store_si256(reinterpret_cast<__m256i*>(narrow + i / 2), (__m256i)x);
    }
    uint32_t* out = reinterpret_cast<uint32_t*>(state.q) +
                    static_cast<size_t>(row / kStripRows) * kStripRows * pairs + row % kStripRows;
    for (int i = 0; i < pairs; ++i) out[i * kStripRows] = narrow[i];
  }
}

inline __m128i load_two_pairs(const uint16_t* from) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
}
inline void store_four_pairs(float* to, __m128i x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), x);
}

// Four candidates become four columns of a panel. Pairs come in twos, as head_dim is a multiple of 4.
inline void pack_four_keys(const void* const* rows, int pairs, float* out) {
  const uint16_t* r[4];
  for (int c = 0; c < 4; ++c) r[c] = static_cast<const uint16_t*>(rows[c]);
  for (int i = 0; i < pairs; i += 2) {
    const __m128i low = _mm_unpacklo_epi32(load_two_pairs(r[0] + 2 * i), load_two_pairs(r[1] + 2 * i));
    const __m128i high = _mm_unpacklo_epi32(load_two_pairs(r[2] + 2 * i), load_two_pairs(r[3] + 2 * i));
    store_four_pairs(out + i * kPanel, _mm_unpacklo_epi64(low, high));
    store_four_pairs(out + (i + 1) * kPanel, _mm_unpackhi_epi64(low, high));
  }
}

// Two candidates become one row of pairs, 16 at a time.
KVLAB_AVX512_BF16 void pack_two_values(const void* even, const void* odd, int head_dim, float* out) {
  const uint16_t* a = static_cast<const uint16_t*>(even);
  const uint16_t* b = static_cast<const uint16_t*>(odd);
  for (int i = 0; i < head_dim; i += kLanes) {
    const int rest = head_dim - i;
    const __mmask16 mask = rest >= kLanes ? 0xffff : (1u << rest) - 1;
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, a + i));
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b + i));
    float* to = out + static_cast<size_t>(i / kPanel) * kPairs * kPanel + i % kPanel;
    _mm512_store_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

void pack_entries(const BlockState& state, const Group& group) {
  const int head_dim = state.block.head_dim, pairs = head_dim / 2;
  for (int c = 0; c < group.padded; c += 4)
    pack_four_keys(group.k + c, pairs,
                   state.k + static_cast<size_t>(c / kPanel) * kPanel * pairs + c % kPanel);
  for (int c = 0; c < group.padded; c += 2)
    pack_two_values(group.v[c], group.v[c + 1], head_dim, state.v + static_cast<size_t>(c / 2) * kPanel);
}

void score_strip(const BlockState& state, int strip, int begin, int end) {
  const int pairs = state.block.head_dim / 2;
  const float* q = state.q + static_cast<size_t>(strip) * kStripRows * pairs;
  for (int column = begin; column < end;) {
    const int inside = column % kPanel;
    const int width = kPanel - inside < end - column ? kPanel - inside : end - column;
    const float* k = state.k + static_cast<size_t>(column / kPanel) * kPanel * pairs + inside;
    multiply_any<1, kStripRows, false>(width / kLanes, q, k, pairs, state.s + column, kGroupEntries, nullptr);
    column += width;
  }
}

KVLAB_AVX512_BF16 void mask_unit(const BlockState& state, const Group& group, const int32_t* queries,
                                 int unit) {
  const __m512i birth = _mm512_loadu_si512(group.position + unit * kUnit);
  const __m512i end = _mm512_loadu_si512(group.evict + unit * kUnit);
  const __m512 masked = _mm512_set1_ps(kMaskedScore);
  for (int r = 0; r < kStripRows; ++r) {
    const __m512i query = _mm512_set1_epi32(queries[r]);
    const __mmask16 hidden = _mm512_cmpgt_epi32_mask(birth, query) | _mm512_cmple_epi32_mask(end, query);
    _mm512_mask_store_ps(state.s + r * kGroupEntries + unit * kUnit, hidden, masked);
  }
}

// 2^x for x <= 0 within 8e-5 relative, of which bfloat16 keeps nothing anyway. scalef turns far negative n
// into 0.
KVLAB_AVX512_BF16 inline __m512 exp2_coarse(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(0.0551716691f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.242611122f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693260985f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999928074f));
  return _mm512_scalef_ps(p, n);
}

// Scores s[begin, end) become bfloat16 probabilities p relative to the new running maximum. The sum is that
// of the rounded probabilities, taken by the dot-product instruction against ones. Returns by how much
// earlier sums shrink.
KVLAB_AVX512_BF16 float softmax_row(const float* __restrict s, uint16_t* __restrict p, int begin, int end,
                                    float* __restrict max, float* __restrict sum) {
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  __m512 top = _mm512_set1_ps(*max);
  for (int i = begin; i < end; i += kLanes) top = _mm512_max_ps(top, _mm512_load_ps(s + i));
  top = _mm512_set1_ps(_mm512_reduce_max_ps(top));
  const __m512 shrink = exp2_coarse(_mm512_sub_ps(_mm512_set1_ps(*max), top));
  *max = _mm512_cvtss_f32(top);
  __m512 total = _mm512_mul_ps(_mm512_load_ps(sum), shrink);
  int i = begin;
  for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
    const __m512 low = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i), top));
    const __m512 high = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i + kLanes), top));
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    total = _mm512_dpbf16_ps(total, both, ones);
    _mm512_storeu_si512(p + i, (__m512i)both);
  }
  if (i < end) {
    const __m512 low = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i), top));
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_setzero_ps(), low);
    total = _mm512_dpbf16_ps(total, both, ones);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + i), _mm512_castsi512_si256((__m512i)both));
  }
  _mm512_store_ps(sum, total);
  return _mm512_cvtss_f32(shrink);
}

void strip_against_group(const BlockState& state, const Group& group, int strip, UnitRange units) {
  const int row = strip * kStripRows, begin = units.begin * kUnit, end = units.end * kUnit;
  const int32_t* queries = state.row_query + row;
  score_strip(state, strip, begin, end);
  for (int unit = units.begin; unit < units.end; ++unit)
    if (unit_needs_mask(group, unit, queries[0], queries[kStripRows - 1]))
      mask_unit(state, group, queries, unit);
  float* p = state.s + kStripRows * kGroupEntries;
  float shrink[kStripRows];
  for (int r = 0; r < kStripRows; ++r)
    shrink[r] = softmax_row(state.s + r * kGroupEntries, reinterpret_cast<uint16_t*>(p + r * kPairs), begin,
                            end, state.max + row + r, state.sum + static_cast<size_t>(row + r) * kUnit);
  const int width = state.block.head_dim;
  for (int column = 0; column < width; column += kPanel) {
    const int rest = width - column < kPanel ? width - column : kPanel;
    const float* v = state.v + (static_cast<size_t>(column / kPanel) * kPairs + begin / 2) * kPanel;
    float* out = state.out + static_cast<size_t>(row) * state.out_stride + column;
    multiply_any<kPairs, 1, true>((rest + kLanes - 1) / kLanes, p + begin / 2, v, (end - begin) / 2, out,
                                  state.out_stride, shrink);
  }
}

constexpr BlockKernel kKernel = {q_floats, kv_floats, pack_queries, pack_entries, strip_against_group};

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

}  // namespace

const BlockKernel* block_kernel_bf16() {
  static const BlockKernel* const kernel = supported() ? &kKernel : nullptr;
  return kernel;
}

}  // namespace kvlab

#else

namespace kvlab {
const BlockKernel* block_kernel_bf16() {
  return nullptr;
}
}  // namespace kvlab

#endif
