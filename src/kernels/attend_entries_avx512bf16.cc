// attend_entries with AVX512_BF16: the query and the probabilities are rounded to bfloat16; weights are
// floats. Heads go in parties of up to four, which share every load of keys and values.
#include "kernels/page_kernels.h"

#if defined(__x86_64__)

#include "kernels/page_products_avx512bf16.h"

namespace kvlab {
namespace {

constexpr int kParty = 4;

// A chunk of pages, small enough to stay cached while parties of heads go over it.
struct Chunk {
  const void* k[kGroupPages];
  const void* v[kGroupPages];
  int pages, first_slot;
};

Chunk chunk_at(const OneQuery& query, int first_page) {
  const int rest = query.page_count - first_page;
  Chunk chunk;
  chunk.pages = rest < kGroupPages ? rest : kGroupPages;
  chunk.first_slot = first_page * kPageSlots;
  for (int i = 0; i < chunk.pages; ++i) {
    chunk.k[i] = query.pages[first_page + i].k;
    chunk.v[i] = query.pages[first_page + i].v;
  }
  return chunk;
}

template <int kHeads>
void score_party(const OneQuery& query, const Chunk& chunk, int head, const uint32_t* q) {
  // Measured: 24 sums in flight instead of 12 make three heads 7 % faster; one, two or four heads gain
  // nothing from more than four pages at once.
  score_all<kHeads, kHeads == 3 ? 8 : 4>(q + head * kQueryStride, chunk.k, chunk.pages, query.head_dim / 2,
                                         query.weights + head * query.stride + chunk.first_slot,
                                         query.stride);
}

void score_chunk(const OneQuery& query, const Chunk& chunk, const uint32_t* q) {
  for (int head = 0; head < query.group; head += kParty) {
    const int heads = query.group - head;
    if (heads >= 4) score_party<4>(query, chunk, head, q);
    if (heads == 3) score_party<3>(query, chunk, head, q);
    if (heads == 2) score_party<2>(query, chunk, head, q);
    if (heads == 1) score_party<1>(query, chunk, head, q);
  }
}

void add_chunk_values(const OneQuery& query, const Chunk& chunk, const uint32_t* p, float* sums) {
  static constexpr float kOnes[kParty] = {1, 1, 1, 1};
  const int v_stride = value_stride(query.head_dim);
  for (int head = 0; head < query.group; head += kParty) {
    const int heads = query.group - head;
    const uint32_t* from = p + head * kGroupPairs;
    float* out = sums + static_cast<int64_t>(head) * v_stride;
    if (heads >= 4) add_all_values<4>(from, chunk.v, chunk.pages, v_stride, kOnes, out);
    // Here, too, three heads want 24 sums.
    if (heads == 3) add_all_values<3, 2>(from, chunk.v, chunk.pages, v_stride, kOnes, out);
    if (heads == 2) add_all_values<2>(from, chunk.v, chunk.pages, v_stride, kOnes, out);
    if (heads == 1) add_all_values<1>(from, chunk.v, chunk.pages, v_stride, kOnes, out);
  }
}

// 2^x for x <= 0 within 3e-6 relative, far less than what rounding the query does: 2^(x - floor x) by a
// minimax polynomial; scalef multiplies with 2^(floor x), which is 0 for masked scores.
KVLAB_AVX512_BF16 inline __m512 exp2_fine(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.0135341678f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0520114601f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.241442755f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693003833f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000262f));
  return _mm512_scalef_ps(p, x);
}

// Scores in units of log 2 become weights that are not yet normalised; those past `size` become 0. Returns
// one over their sum.
KVLAB_AVX512_BF16 float exponentiate(float* __restrict s, int size) {
  const int padded = (size + kPageSlots - 1) / kPageSlots * kPageSlots;
  for (int i = size; i < padded; ++i) s[i] = kMaskedScore;
  __m512 top = _mm512_load_ps(s);
  for (int i = kLanes; i < padded; i += kLanes) top = _mm512_max_ps(top, _mm512_load_ps(s + i));
  top = _mm512_set1_ps(_mm512_reduce_max_ps(top));
  __m512 total = _mm512_setzero_ps();
  for (int i = 0; i < padded; i += kLanes) {
    const __m512 p = exp2_fine(_mm512_sub_ps(_mm512_load_ps(s + i), top));
    total = _mm512_add_ps(total, p);
    _mm512_store_ps(s + i, p);
  }
  return 1.0f / _mm512_reduce_add_ps(total);
}

// Normalises the weights of `pages` pages and rounds them to pairs.
KVLAB_AVX512_BF16 void normalise(float* __restrict weights, int pages, float inverse,
                                 uint32_t* __restrict p) {
  const __m512 factor = _mm512_set1_ps(inverse);
  for (int i = 0; i < pages; ++i) {
    const __m512 w = _mm512_mul_ps(_mm512_load_ps(weights + i * kLanes), factor);
    _mm512_store_ps(weights + i * kLanes, w);
    _mm256_store_si256(reinterpret_cast<__m256i*>(p + i * kPagePairs), (__m256i)_mm512_cvtneps_pbh(w));
  }
}

}  // namespace

void attend_entries_bf16(const OneQuery& query, PageAttentionScratch& scratch) {
  const int v_stride = value_stride(query.head_dim);
  scratch.q.reserve_discard(static_cast<size_t>(kMaxGroup) * kQueryStride);
  scratch.scores.reserve_discard(static_cast<size_t>(kMaxGroup) * kGroupPairs);
  scratch.out.reserve_discard(static_cast<size_t>(kMaxGroup) * kMaxHeadDim);
  auto* q = reinterpret_cast<uint32_t*>(scratch.q.data());
  auto* p = reinterpret_cast<uint32_t*>(scratch.scores.data());
  float* sums = scratch.out.data();
  for (int g = 0; g < query.group; ++g)
    narrow_query(query.q + g * query.q_head, query.head_dim, query.scale * kLog2E, q + g * kQueryStride);
  for (int first = 0; first < query.page_count; first += kGroupPages)
    score_chunk(query, chunk_at(query, first), q);
  float inverse[kMaxGroup];
  for (int g = 0; g < query.group; ++g)
    inverse[g] = exponentiate(query.weights + g * query.stride, query.size);
  for (int i = 0; i < query.group * v_stride; ++i) sums[i] = 0;
  for (int first = 0; first < query.page_count; first += kGroupPages) {
    const Chunk chunk = chunk_at(query, first);
    for (int g = 0; g < query.group; ++g)
      normalise(query.weights + g * query.stride + chunk.first_slot, chunk.pages, inverse[g],
                p + g * kGroupPairs);
    add_chunk_values(query, chunk, p, sums);
  }
  for (int g = 0; g < query.group; ++g)
    for (int i = 0; i < query.head_dim; ++i)
      query.out[g * query.out_head + i] = sums[static_cast<int64_t>(g) * v_stride + i];
}

}  // namespace kvlab

#endif
