// page_attention and attend_entries in float on every Highway target; bfloat16 keys and values become floats
// as they are loaded.
#include "kernels/simd_targets.h"
//
#include <algorithm>
#include <cstring>

#include "kernels/page_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/page_attention_f32.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"
#include "kernels/page_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

constexpr int kParty = 4;  // query heads of one query processed together

void scale_query(const float* in, int head_dim, float scale, float* out) {
  for (int i = 0; i < head_dim; ++i) out[i] = in[i] * (scale * kLog2E);
}

void pack_queries(const PageBlockState& state) {
  const QueryBlock& block = state.block;
  for (int row = 0; row < state.strips * kStripRows; ++row) {
    // Rows that only fill up the last strip repeat the last real one.
    const int from = std::min(row, state.rows - 1);
    scale_query(block.q + (from / block.group) * block.q_row + (from % block.group) * block.q_head,
                block.head_dim, block.scale, state.q + static_cast<size_t>(row) * kQueryStride);
  }
}

void mask_page(const PageBlockState& state, const PageGroup& group, const int32_t* queries, int page) {
  const DF d;
  const DI di;
  for (int i = page * kPageSlots; i < (page + 1) * kPageSlots; i += kLanes) {
    const auto birth = hn::Load(di, group.birth + i), end = hn::Load(di, group.end + i);
    for (int r = 0; r < kStripRows; ++r) {
      const auto query = hn::Set(di, queries[r]);
      const auto seen = hn::AndNot(hn::Gt(birth, query), hn::Gt(end, query));
      float* s = state.s + r * kGroupColumns + i;
      hn::Store(hn::IfThenElse(hn::RebindMask(d, seen), hn::Load(d, s), hn::Set(d, kMaskedScore)), d, s);
    }
  }
}

VF largest(const float* HWY_RESTRICT s, int begin, int end) {
  const DF d;
  VF top = hn::Set(d, kStartMax);
  for (int i = begin; i < end; i += kLanes) top = hn::Max(top, hn::Load(d, s + i));
  return top;
}

// Turns scores into probabilities relative to the running maximum, adds them to the row's sums, and returns
// the factor by which what was summed before shrinks.
HWY_NOINLINE float softmax_row(float* HWY_RESTRICT s, int begin, int end, float* HWY_RESTRICT max,
                               float* HWY_RESTRICT sum) {
  const DF d;
  const VF top = hn::MaxOfLanes(d, largest(s, begin, end));
  VF shrink = hn::Set(d, 1.0f);
  if (hn::GetLane(top) > *max + kMaxSlack) {
    shrink = exp2_negative(hn::Sub(hn::Set(d, *max), top));
    *max = hn::GetLane(top);
  }
  const VF origin = hn::Set(d, *max);
  VF total = hn::Mul(hn::Load(d, sum), shrink);
  for (int i = begin; i < end; i += kLanes) {
    const VF p = exp2_negative(hn::Sub(hn::Load(d, s + i), origin));
    total = hn::Add(total, p);
    hn::Store(p, d, s + i);
  }
  hn::Store(total, d, sum);
  return hn::GetLane(shrink);
}

template <typename T>
void strip_typed(const PageBlockState& state, const PageGroup& group, int strip, PageRange pages) {
  const int row = strip * kStripRows, count = pages.end - pages.begin;
  const int begin = pages.begin * kPageSlots, end = pages.end * kPageSlots;
  const int32_t* queries = state.row_query + row;
  score_pages<kStripRows, T>(state.q + static_cast<size_t>(row) * kQueryStride, group.k + pages.begin, count,
                             state.block.head_dim, state.s + begin, kGroupColumns);
  for (int page = pages.begin; page < pages.end; ++page)
    if (page_needs_mask(group.lives[page], queries[0], queries[kStripRows - 1]))
      mask_page(state, group, queries, page);
  float shrink[kStripRows];
  for (int r = 0; r < kStripRows; ++r)
    shrink[r] = softmax_row(state.s + r * kGroupColumns, begin, end, state.max + row + r,
                            state.sum + static_cast<size_t>(row + r) * kPageSlots);
  add_values<kStripRows, T>(state.s + begin, kGroupColumns, group.v + pages.begin, count, state.out_stride,
                            shrink, state.out + static_cast<size_t>(row) * state.out_stride);
}

void strip_against_group(const PageBlockState& state, const PageGroup& group, int strip, PageRange pages) {
  if (state.type == DType::kF32)
    strip_typed<float>(state, group, strip, pages);
  else
    strip_typed<uint32_t>(state, group, strip, pages);
}

// Scores in units of log 2 become normalised weights; those past `size` become 0.
void softmax_slots(float* s, int size) {
  const DF d;
  const int padded = (size + kPageSlots - 1) / kPageSlots * kPageSlots;
  std::fill(s + size, s + padded, kMaskedScore);
  const VF top = hn::MaxOfLanes(d, largest(s, 0, padded));
  VF total = hn::Zero(d);
  for (int i = 0; i < padded; i += kLanes) {
    const VF p = exp2_negative(hn::Sub(hn::Load(d, s + i), top));
    total = hn::Add(total, p);
    hn::Store(p, d, s + i);
  }
  const VF inverse = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, total));
  for (int i = 0; i < padded; i += kLanes) hn::Store(hn::Mul(hn::Load(d, s + i), inverse), d, s + i);
}

// A chunk of pages, small enough to stay cached while parties of heads go over it.
struct Chunk {
  const void* k[kGroupPages];
  const void* v[kGroupPages];
  int pages, first_slot;
};

Chunk chunk_at(const OneQuery& query, int first_page) {
  Chunk chunk;
  chunk.pages = std::min(kGroupPages, query.page_count - first_page);
  chunk.first_slot = first_page * kPageSlots;
  for (int i = 0; i < chunk.pages; ++i) {
    chunk.k[i] = query.pages[first_page + i].k;
    chunk.v[i] = query.pages[first_page + i].v;
  }
  return chunk;
}

// Scores, or with kValues the sums of values, of heads [head, head + kHeads) over a chunk.
template <bool kValues, int kHeads, typename T>
void party(const OneQuery& query, const Chunk& chunk, int head, const float* scaled, float* sums) {
  static constexpr float kOnes[kParty] = {1, 1, 1, 1};
  float* weights = query.weights + head * query.stride + chunk.first_slot;
  const int v_stride = value_stride(query.head_dim);
  if constexpr (kValues)
    add_values<kHeads, T>(weights, query.stride, chunk.v, chunk.pages, v_stride, kOnes,
                          sums + static_cast<size_t>(head) * v_stride);
  else
    score_pages<kHeads, T>(scaled + static_cast<size_t>(head) * kQueryStride, chunk.k, chunk.pages,
                           query.head_dim, weights, query.stride);
}

template <bool kValues, typename T>
void all_parties(const OneQuery& query, const Chunk& chunk, const float* scaled, float* sums) {
  for (int head = 0; head < query.group; head += kParty) {
    switch (std::min(kParty, query.group - head)) {
      case 1:
        party<kValues, 1, T>(query, chunk, head, scaled, sums);
        break;
      case 2:
        party<kValues, 2, T>(query, chunk, head, scaled, sums);
        break;
      case 3:
        party<kValues, 3, T>(query, chunk, head, scaled, sums);
        break;
      default:
        party<kValues, 4, T>(query, chunk, head, scaled, sums);
    }
  }
}

template <typename T>
void attend_typed(const OneQuery& query, const float* scaled, float* sums) {
  const int pages = query.page_count;
  for (int first = 0; first < pages; first += kGroupPages)
    all_parties<false, T>(query, chunk_at(query, first), scaled, sums);
  for (int g = 0; g < query.group; ++g) softmax_slots(query.weights + g * query.stride, query.size);
  for (int first = 0; first < pages; first += kGroupPages)
    all_parties<true, T>(query, chunk_at(query, first), scaled, sums);
}

void attend(const OneQuery& query, PageAttentionScratch& scratch) {
  const int v_stride = value_stride(query.head_dim);
  scratch.q.reserve_discard(static_cast<size_t>(kMaxGroup) * kQueryStride);
  scratch.out.reserve_discard(static_cast<size_t>(kMaxGroup) * kMaxHeadDim);
  float *scaled = scratch.q.data(), *sums = scratch.out.data();
  for (int g = 0; g < query.group; ++g)
    scale_query(query.q + g * query.q_head, query.head_dim, query.scale, scaled + g * kQueryStride);
  std::fill_n(sums, static_cast<size_t>(query.group) * v_stride, 0.0f);
  if (query.type == DType::kF32)
    attend_typed<float>(query, scaled, sums);
  else
    attend_typed<uint32_t>(query, scaled, sums);
  for (int g = 0; g < query.group; ++g)
    std::copy_n(sums + static_cast<size_t>(g) * v_stride, query.head_dim, query.out + g * query.out_head);
}

PageKernel kernel() {
  return {pack_queries, strip_against_group, attend};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(kernel);
PageKernel page_kernel_f32() {
  return HWY_DYNAMIC_DISPATCH(kernel)();
}
}  // namespace kvlab
#endif
