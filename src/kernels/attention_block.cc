// The driver of lifetime_attention: groups of candidates against strips of rows.
#include "kernels/attention_block.h"

#include <algorithm>
#include <cassert>

namespace kvlab {
namespace {

// Read by padding columns, whose scores are masked: they must be finite.
alignas(64) constexpr float kZeroRow[kMaxHeadDim] = {};

const BlockKernel& choose_kernel(DType type) {
  if (type == DType::kBF16 && attention_uses_bf16_instructions()) return *block_kernel_bf16();
  return block_kernel_f32();
}

void summarise_lives(Group& group) {
  for (int unit = 0; unit < group.padded / kUnit; ++unit) {
    const int32_t* position = group.position + unit * kUnit;
    const int32_t* evict = group.evict + unit * kUnit;
    int32_t first_birth = position[0], last_birth = position[0], first_end = evict[0], last_end = evict[0];
    for (int i = 1; i < kUnit; ++i) {
      first_birth = std::min(first_birth, position[i]);
      last_birth = std::max(last_birth, position[i]);
      first_end = std::min(first_end, evict[i]);
      last_end = std::max(last_end, evict[i]);
    }
    group.first_birth[unit] = first_birth;
    group.last_birth[unit] = last_birth;
    group.first_end[unit] = first_end;
    group.last_end[unit] = last_end;
  }
}

void fill_group(const Candidates& all, int first, std::span<const EntrySpan> entries, size_t element,
                Group& group) {
  const int count = std::min(all.count - first, kGroupEntries);
  group.position = all.position + first;
  group.evict = all.evict + first;
  group.padded = (count + kUnit - 1) / kUnit * kUnit;
  for (int c = 0; c < count; ++c) {
    const EntrySpan& span = entries[all.span[first + c]];
    const int64_t row = all.row[first + c];
    group.k[c] = static_cast<const char*>(span.k) + row * span.k_stride * element;
    group.v[c] = static_cast<const char*>(span.v) + row * span.v_stride * element;
  }
  for (int c = count; c < group.padded; ++c) group.k[c] = group.v[c] = kZeroRow;
  summarise_lives(group);
}

UnitRange visible_units(const Group& group, int32_t first, int32_t last) {
  const auto seen = [&](int unit) { return group.first_birth[unit] <= last && group.last_end[unit] > first; };
  UnitRange range{0, group.padded / kUnit};
  while (range.begin < range.end && !seen(range.begin)) ++range.begin;
  while (range.begin < range.end && !seen(range.end - 1)) --range.end;
  return range;
}

// Lays the state out in the scratch memory; row_query takes `rows` numbers from the caller.
BlockState make_state(const QueryBlock& block, DType type, const BlockKernel& kernel,
                      AttentionScratch& scratch, int32_t* row_query) {
  const int rows = block.queries * block.group;
  const int strips = (rows + kStripRows - 1) / kStripRows;
  const size_t padded_rows = static_cast<size_t>(strips) * kStripRows;
  const int out_stride = (block.head_dim + kUnit - 1) / kUnit * kUnit;
  scratch.q.reserve_discard(kernel.q_floats(strips, block.head_dim));
  scratch.k.reserve_discard(kernel.kv_floats(block.head_dim));
  scratch.v.reserve_discard(kernel.kv_floats(block.head_dim));
  scratch.s.reserve_discard(2 * kStripRows * kGroupEntries);
  scratch.out.reserve_discard(padded_rows * out_stride);
  scratch.stats.reserve_discard(padded_rows * (1 + kUnit));
  float* sum = scratch.stats.data();
  float* max = sum + padded_rows * kUnit;
  std::fill_n(scratch.out.data(), padded_rows * out_stride, 0.0f);
  std::fill_n(sum, padded_rows * kUnit, 0.0f);
  std::fill_n(max, padded_rows, kStartMax);
  // Rows that only fill up the last strip behave like the last query.
  for (size_t row = 0; row < padded_rows; ++row)
    row_query[row] = block.first_query + std::min(static_cast<int>(row) / block.group, block.queries - 1);
  return {block,
          type,
          rows,
          strips,
          out_stride,
          scratch.q.data(),
          scratch.k.data(),
          scratch.v.data(),
          scratch.s.data(),
          scratch.out.data(),
          max,
          sum,
          row_query};
}

void write_output(const BlockState& state) {
  const QueryBlock& block = state.block;
  for (int row = 0; row < state.rows; ++row) {
    float sum = 0;
    for (int i = 0; i < kUnit; ++i) sum += state.sum[static_cast<size_t>(row) * kUnit + i];
    const float inverse = sum > 0 ? 1.0f / sum : 0.0f;
    const float* in = state.out + static_cast<size_t>(row) * state.out_stride;
    float* out = block.out + (row / block.group) * block.out_row + (row % block.group) * block.out_head;
    for (int i = 0; i < block.head_dim; ++i) out[i] = in[i] * inverse;
  }
}

}  // namespace

void lifetime_attention(const QueryBlock& block, std::span<const EntrySpan> entries, DType type,
                        AttentionScratch& scratch) {
  assert(block.queries >= 0 && block.queries <= kQueryBlock && block.group >= 1 && block.group <= kMaxGroup);
  assert(block.head_dim >= 4 && block.head_dim <= kMaxHeadDim && block.head_dim % 4 == 0);
  assert(type == DType::kF32 || type == DType::kBF16);
  if (block.queries == 0) return;
  const BlockKernel& kernel = choose_kernel(type);
  int32_t row_query[kQueryBlock * kMaxGroup + kStripRows];
  const Candidates candidates = collect_candidates(block, entries, scratch);
  const BlockState state = make_state(block, type, kernel, scratch, row_query);
  kernel.pack_queries(state);
  Group group;
  for (int first = 0; first < candidates.count; first += kGroupEntries) {
    fill_group(candidates, first, entries, element_size(type), group);
    kernel.pack_entries(state, group);
    for (int strip = 0; strip < state.strips; ++strip) {
      const int row = strip * kStripRows;
      const UnitRange units = visible_units(group, row_query[row], row_query[row + kStripRows - 1]);
      if (units.begin < units.end) kernel.strip(state, group, strip, units);
    }
  }
  write_output(state);
}

}  // namespace kvlab
