// Inside page_attention and attend_entries: how a block of queries is cut up, and what the kernels of each
// instruction set do.
//
// Rows are queries times query heads, row = query * group + head, taken in strips of kStripRows. Pages are
// taken in groups of kGroupPages, counted from the first page so that a page's group depends on nothing else;
// every strip uses a group before the next one is touched.
#pragma once

#include <cstdint>

#include "kernels/page_attention.h"

namespace kvlab {

// 6 rows x 4 vectors of sums, 4 of entries and 1 of queries are 29 of AVX-512's 32 registers.
inline constexpr int kStripRows = 6;
// 256 columns. K and V of a group come from the second-level cache then, which keeps up: the tile needs 11
// bytes a cycle. Groups of 64 or 128 columns, whose keys would stay in the first level, were 3 to 5 % slower
// (head size 64, bf16): more passes over the sums of outputs and more, shorter softmax rows. 512 were not
// faster.
inline constexpr int kGroupPages = 16;
inline constexpr int kGroupColumns = kGroupPages * kPageSlots;
inline constexpr float kLog2E = 1.44269504088896340736f;
// Rows of queries lie this many floats apart, whatever the head size: a constant stands in the instructions.
inline constexpr int kQueryStride = kMaxHeadDim;

// A masked score lies so far below the first running maximum that its exponential is exactly 0, also in a row
// where everything is masked. Infinities would give NaN there.
inline constexpr float kStartMax = -1e30f, kMaskedScore = -2e30f;
// The running maximum follows the scores (in powers of two) only when they exceed it by more than this. Until
// then probabilities are up to 2^8, which neither float nor bfloat16 minds, and sums need no rescaling.
inline constexpr float kMaxSlack = 8.0f;

// The extremes of the lives in a page; slots that are not used are born last.
struct PageLife {
  int32_t first_birth, last_birth, first_end, last_end;
};

// Up to kGroupPages pages.
struct PageGroup {
  int count;
  const void* k[kGroupPages];
  const void* v[kGroupPages];
  PageLife lives[kGroupPages];
  // Lives slot by slot, filled in only where some query of the block needs a mask.
  alignas(64) int32_t birth[kGroupColumns];
  alignas(64) int32_t end[kGroupColumns];
};

// Pages [begin, end) of a group. begin is even: kernels that go by pairs of pages meet the same pairs always.
struct PageRange {
  int begin, end;
};

struct PageBlockState {
  const QueryBlock& block;
  DType type;
  int rows, strips;
  int out_stride;  // value_stride(head_dim)
  float* q;    // [strips * kStripRows][kQueryStride], times scale and log2(e); pairs of bfloat16 or floats
  float* s;    // two times [kStripRows][kGroupColumns], for the scores and probabilities of a strip
  float* out;  // [strips * kStripRows][out_stride], not yet divided by the sums
  float* max;  // [strips * kStripRows]
  float* sum;  // [strips * kStripRows][kPageSlots]: the lanes of a vector each
  const int32_t* row_query;  // position of the query of each row
};

inline bool page_needs_mask(const PageLife& life, int32_t first_query, int32_t last_query) {
  return life.last_birth > first_query || life.first_end <= last_query;
}

struct OneQuery {
  const ConstPageData* pages;
  int page_count, size;
  DType type;
  int head_dim;
  const float* q;
  int64_t q_head;
  int group;
  float scale;
  float* weights;
  int64_t stride;
  float* out;
  int64_t out_head;
};

// One instruction set's functions.
struct PageKernel {
  void (*pack_queries)(const PageBlockState& state);
  // Scores, online softmax and output of one strip against pages of a group.
  void (*strip)(const PageBlockState& state, const PageGroup& group, int strip, PageRange pages);
  void (*attend)(const OneQuery& query, PageAttentionScratch& scratch);
};

// For float and, with conversion on the way, bfloat16: the best of Highway's targets.
PageKernel page_kernel_f32();
// For bfloat16 with AVX512_BF16; null where the processor has none.
const PageKernel* page_kernel_bf16();

// Its one-query function, in a file of its own.
void attend_entries_bf16(const OneQuery& query, PageAttentionScratch& scratch);

}  // namespace kvlab
