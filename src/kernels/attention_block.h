// Inside lifetime_attention: how a block of queries is cut up, and what the kernels of each instruction set
// do.
//
// Rows are queries times query heads, row = query * group + head, taken in strips of kStripRows. Entries that
// some query of the block sees (the candidates) are taken in groups of kGroupEntries: packed once, then used
// by every strip.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention.h"

namespace kvlab {

inline constexpr int kStripRows =
    6;  // 6 rows x 4 vectors of sums, 4 of B, 1 of A: 29 of AVX-512's 32 registers
inline constexpr int kGroupEntries = 256;  // K and V of a group stay in the second-level cache
inline constexpr int kUnit = 16;           // columns (candidates) whose lives are summed up together
inline constexpr int kUnits = kGroupEntries / kUnit;
inline constexpr float kLog2E = 1.44269504088896340736f;

// A masked score lies so far below the first running maximum that its exponential is exactly 0, also in a row
// where everything is masked. Infinities would give NaN there.
inline constexpr float kStartMax = -1e30f, kMaskedScore = -2e30f;

// The candidates in order. The arrays are readable up to the next multiple of kUnit, where padding is never
// visible.
struct Candidates {
  int32_t *span, *row, *position, *evict;
  int count;
};

// Finds the candidates: position <= last query and evict_at > first query.
Candidates collect_candidates(const QueryBlock& block, std::span<const EntrySpan> entries,
                              AttentionScratch& scratch);

// Up to kGroupEntries candidates, with the extremes of their lives by unit.
struct Group {
  const int32_t *position, *evict;
  int padded;  // columns, a multiple of kUnit
  const void* k[kGroupEntries];
  const void* v[kGroupEntries];
  int32_t first_birth[kUnits], last_birth[kUnits], first_end[kUnits], last_end[kUnits];
};

// The columns of a group that a strip's queries [first, last] see: units [begin, end).
struct UnitRange {
  int begin, end;
};

struct BlockState {
  const QueryBlock& block;
  DType type;
  int rows, strips;
  int out_stride;    // head_dim rounded up to kUnit
  float *q, *k, *v;  // as the kernel packs them
  float* s;          // two times [kStripRows][kGroupEntries] for the scores and probabilities of a strip
  float* out;        // [strips * kStripRows][out_stride], not yet divided by the sums
  float* max;        // [strips * kStripRows]
  float* sum;        // [strips * kStripRows][kUnit]: the lanes of a vector each
  const int32_t* row_query;  // position of the query of each row
};

inline bool unit_needs_mask(const Group& group, int unit, int32_t first, int32_t last) {
  return group.last_birth[unit] > first || group.first_end[unit] <= last;
}

// One instruction set's functions.
struct BlockKernel {
  // Floats of working memory for queries, and for K and for V of a group.
  size_t (*q_floats)(int strips, int head_dim);
  size_t (*kv_floats)(int head_dim);
  void (*pack_queries)(const BlockState& state);
  void (*pack_entries)(const BlockState& state, const Group& group);
  // Scores, online softmax and output of one strip against the units of a group.
  void (*strip)(const BlockState& state, const Group& group, int strip, UnitRange units);
};

// For float and, with conversion while packing, bfloat16: the best of Highway's targets.
const BlockKernel& block_kernel_f32();
// For bfloat16 with AVX512_BF16; null where the processor has none.
const BlockKernel* block_kernel_bf16();

}  // namespace kvlab
