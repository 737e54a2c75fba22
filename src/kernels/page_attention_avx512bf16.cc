// page_attention with AVX512_BF16: queries and probabilities are rounded to bfloat16, to nearest even, and
// read in pairs as keys and values lie.
#include "kernels/page_kernels.h"

#if defined(__x86_64__)

#include "kernels/page_products_avx512bf16.h"

namespace kvlab {
namespace {

KVLAB_AVX512_BF16 void pack_queries(const PageBlockState& state) {
  const QueryBlock& block = state.block;
  auto* out = reinterpret_cast<uint32_t*>(state.q);
  for (int row = 0; row < state.strips * kStripRows; ++row) {
    // Rows that only fill up the last strip repeat the last real one.
    const int from = row < state.rows ? row : state.rows - 1;
    narrow_query(block.q + (from / block.group) * block.q_row + (from % block.group) * block.q_head,
                 block.head_dim, block.scale * kLog2E, out + static_cast<size_t>(row) * kQueryStride);
  }
}

KVLAB_AVX512_BF16 void mask_page(const PageBlockState& state, const PageGroup& group, const int32_t* queries,
                                 int page) {
  const __m512i birth = _mm512_load_si512(group.birth + page * kPageSlots);
  const __m512i end = _mm512_load_si512(group.end + page * kPageSlots);
  const __m512 masked = _mm512_set1_ps(kMaskedScore);
  for (int r = 0; r < kStripRows; ++r) {
    const __m512i query = _mm512_set1_epi32(queries[r]);
    const __mmask16 hidden = _mm512_cmpgt_epi32_mask(birth, query) | _mm512_cmple_epi32_mask(end, query);
    _mm512_mask_store_ps(state.s + r * kGroupColumns + page * kPageSlots, hidden, masked);
  }
}

// 2^x within 8e-5 relative, of which bfloat16 keeps nothing anyway: 2^(x - floor x) by a minimax polynomial,
// and scalef multiplies with 2^(floor x), which is 0 for masked scores.
KVLAB_AVX512_BF16 inline __m512 exp2_coarse(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.0780245215f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.226067156f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.695833564f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999925196f));
  return _mm512_scalef_ps(p, x);
}

// The running maximum follows scores that are far above it. Returns by how much earlier sums shrink.
KVLAB_AVX512_BF16 float follow_maximum(const float* __restrict s, int begin, int end, float* max) {
  __m512 top = _mm512_load_ps(s + begin);
  for (int i = begin + kLanes; i < end; i += kLanes) top = _mm512_max_ps(top, _mm512_load_ps(s + i));
  // Not reduced to one number unless it must be: that would take longer than all else here.
  if (!_mm512_cmp_ps_mask(top, _mm512_set1_ps(*max + kMaxSlack), _CMP_GT_OQ)) return 1.0f;
  const float highest = _mm512_reduce_max_ps(top);
  const __m512 shrink = exp2_coarse(_mm512_set1_ps(*max - highest));
  *max = highest;
  return _mm512_cvtss_f32(shrink);
}

// Scores s[begin, end) become bfloat16 probabilities p relative to max. The sum is that of the rounded
// probabilities, taken by the dot-product instruction against ones. A pair of pages starts at a multiple of
// two pages, so that each lane of the sum gets the same terms in every strip.
KVLAB_AVX512_BF16 void softmax_row(const float* __restrict s, uint32_t* __restrict p, int begin, int end,
                                   float max, float shrink, float* __restrict sum) {
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  const __m512 origin = _mm512_set1_ps(max);
  __m512 total = _mm512_mul_ps(_mm512_load_ps(sum), _mm512_set1_ps(shrink));
  int i = begin;
  for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
    const __m512 low = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i), origin));
    const __m512 high = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i + kLanes), origin));
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    total = _mm512_dpbf16_ps(total, both, ones);
    _mm512_store_si512(p + i / 2, (__m512i)both);
  }
  if (i < end) {
    const __m512 low = exp2_coarse(_mm512_sub_ps(_mm512_load_ps(s + i), origin));
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_setzero_ps(), low);
    total = _mm512_dpbf16_ps(total, both, ones);
    _mm512_store_si512(p + i / 2, (__m512i)both);
  }
  _mm512_store_ps(sum, total);
}

void strip_against_group(const PageBlockState& state, const PageGroup& group, int strip, PageRange pages) {
  const size_t row = static_cast<size_t>(strip) * kStripRows;
  const int count = pages.end - pages.begin, begin = pages.begin * kPageSlots, end = pages.end * kPageSlots;
  const int32_t* queries = state.row_query + row;
  score_all<kStripRows, 4>(reinterpret_cast<const uint32_t*>(state.q) + row * kQueryStride,
                           group.k + pages.begin, count, state.block.head_dim / 2, state.s + begin,
                           kGroupColumns);
  for (int page = pages.begin; page < pages.end; ++page)
    if (page_needs_mask(group.lives[page], queries[0], queries[kStripRows - 1]))
      mask_page(state, group, queries, page);
  auto* p = reinterpret_cast<uint32_t*>(state.s + kStripRows * kGroupColumns);
  float shrink[kStripRows];
  for (int r = 0; r < kStripRows; ++r)
    shrink[r] = follow_maximum(state.s + r * kGroupColumns, begin, end, state.max + row + r);
  for (int r = 0; r < kStripRows; ++r)
    softmax_row(state.s + r * kGroupColumns, p + r * kGroupPairs, begin, end, state.max[row + r], shrink[r],
                state.sum + (row + r) * kPageSlots);
  add_all_values<kStripRows>(p + begin / 2, group.v + pages.begin, count, state.out_stride, shrink,
                             state.out + row * state.out_stride);
}

constexpr PageKernel kKernel = {pack_queries, strip_against_group, attend_entries_bf16};

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

}  // namespace

const PageKernel* page_kernel_bf16() {
  static const PageKernel* const kernel = supported() ? &kKernel : nullptr;
  return kernel;
}

}  // namespace kvlab

#else

namespace kvlab {
const PageKernel* page_kernel_bf16() {
  return nullptr;
}
}  // namespace kvlab

#endif
