// The driver of page_attention: groups of pages against strips of rows.
#include "kernels/page_attention.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <limits>

#include "kernels/page_kernels.h"

namespace kvlab {
namespace {

std::atomic<bool> bf16_instructions_allowed{true};

PageKernel choose_kernel(DType type) {
  if (type == DType::kBF16 && attention_uses_bf16_instructions()) return *page_kernel_bf16();
  return page_kernel_f32();
}

PageLife summarise_lives(const EntryPage& page) {
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  PageLife life{kLast, std::numeric_limits<int32_t>::min(), kLast, std::numeric_limits<int32_t>::min()};
  if (page.position) {
    for (int i = 0; i < page.count; ++i) {
      life.first_birth = std::min(life.first_birth, page.position[i]);
      life.last_birth = std::max(life.last_birth, page.position[i]);
    }
  } else if (page.count > 0) {
    life.first_birth = page.first_position;
    life.last_birth = page.first_position + page.count - 1;
  }
  if (page.evict_at) {
    for (int i = 0; i < page.count; ++i) {
      life.first_end = std::min(life.first_end, page.evict_at[i]);
      life.last_end = std::max(life.last_end, page.evict_at[i]);
    }
  } else {
    life.first_end = life.last_end = kNever;
  }
  if (page.count < kPageSlots) life.last_birth = kLast;
  return life;
}

void spread_lives(const EntryPage& page, int32_t* birth, int32_t* end) {
  for (int i = 0; i < page.count; ++i) {
    birth[i] = page.position ? page.position[i] : page.first_position + i;
    end[i] = page.evict_at ? page.evict_at[i] : kNever;
  }
  for (int i = page.count; i < kPageSlots; ++i) {
    birth[i] = std::numeric_limits<int32_t>::max();
    end[i] = kNever;
  }
}

void fill_group(std::span<const EntryPage> pages, int32_t first_query, int32_t last_query, PageGroup& group) {
  group.count = static_cast<int>(pages.size());
  for (int i = 0; i < group.count; ++i) {
    assert(pages[i].count >= 0 && pages[i].count <= kPageSlots);
    group.k[i] = pages[i].k;
    group.v[i] = pages[i].v;
    group.lives[i] = summarise_lives(pages[i]);
    if (page_needs_mask(group.lives[i], first_query, last_query))
      spread_lives(pages[i], group.birth + i * kPageSlots, group.end + i * kPageSlots);
  }
}

// The pages of which the queries [first, last] see something, without those between that they do not see.
PageRange visible_pages(const PageGroup& group, int32_t first, int32_t last) {
  const auto seen = [&](int page) {
    return group.lives[page].first_birth <= last && group.lives[page].last_end > first;
  };
  PageRange range{0, group.count};
  while (range.begin < range.end && !seen(range.begin)) ++range.begin;
  while (range.begin < range.end && !seen(range.end - 1)) --range.end;
  if (range.begin < range.end) range.begin &= ~1;
  return range;
}

// Lays the state out in the scratch memory; row_query takes a number for every row of the strips.
PageBlockState make_state(const QueryBlock& block, DType type, PageAttentionScratch& scratch,
                          int32_t* row_query) {
  const int rows = block.queries * block.group;
  const int strips = (rows + kStripRows - 1) / kStripRows;
  const size_t padded_rows = static_cast<size_t>(strips) * kStripRows;
  const int out_stride = value_stride(block.head_dim);
  scratch.q.reserve_discard(padded_rows * kQueryStride);
  scratch.scores.reserve_discard(2 * kStripRows * kGroupColumns);
  scratch.out.reserve_discard(padded_rows * out_stride);
  scratch.stats.reserve_discard(padded_rows * (1 + kPageSlots));
  float* sum = scratch.stats.data();
  float* max = sum + padded_rows * kPageSlots;
  std::fill_n(scratch.out.data(), padded_rows * out_stride, 0.0f);
  std::fill_n(sum, padded_rows * kPageSlots, 0.0f);
  std::fill_n(max, padded_rows, kStartMax);
  // Rows that only fill up the last strip behave like the last query.
  for (size_t row = 0; row < padded_rows; ++row)
    row_query[row] = block.first_query + std::min(static_cast<int>(row) / block.group, block.queries - 1);
  return {
      block, type, rows,     strips, out_stride, scratch.q.data(), scratch.scores.data(), scratch.out.data(),
      max,   sum,  row_query};
}

void write_output(const PageBlockState& state) {
  const QueryBlock& block = state.block;
  for (int row = 0; row < state.rows; ++row) {
    float sum = 0;
    for (int i = 0; i < kPageSlots; ++i) sum += state.sum[static_cast<size_t>(row) * kPageSlots + i];
    const float inverse = sum > 0 ? 1.0f / sum : 0.0f;
    const float* in = state.out + static_cast<size_t>(row) * state.out_stride;
    float* out = block.out + (row / block.group) * block.out_row + (row % block.group) * block.out_head;
    for (int i = 0; i < block.head_dim; ++i) out[i] = in[i] * inverse;
  }
}

[[maybe_unused]] bool usable(int head_dim, int group, DType type) {
  return head_dim >= 2 && head_dim <= kMaxHeadDim && head_dim % 2 == 0 && group >= 1 && group <= kMaxGroup &&
         (type == DType::kF32 || type == DType::kBF16);
}

}  // namespace

bool attention_uses_bf16_instructions() {
  return bf16_instructions_allowed && page_kernel_bf16();
}
void attention_allow_bf16_instructions(bool allow) {
  bf16_instructions_allowed = allow;
}

void page_attention(const QueryBlock& block, std::span<const EntryPage> pages, DType type,
                    PageAttentionScratch& scratch) {
  assert(block.queries >= 0 && block.queries <= kQueryBlock);
  assert(usable(block.head_dim, block.group, type));
  if (block.queries == 0) return;
  const PageKernel kernel = choose_kernel(type);
  int32_t row_query[kQueryBlock * kMaxGroup + kStripRows];
  const PageBlockState state = make_state(block, type, scratch, row_query);
  kernel.pack_queries(state);
  const int32_t last_query = block.first_query + block.queries - 1;
  PageGroup group;
  for (size_t first = 0; first < pages.size(); first += kGroupPages) {
    fill_group(pages.subspan(first, std::min<size_t>(kGroupPages, pages.size() - first)), block.first_query,
               last_query, group);
    for (int strip = 0; strip < state.strips; ++strip) {
      const int row = strip * kStripRows;
      const PageRange range = visible_pages(group, row_query[row], row_query[row + kStripRows - 1]);
      if (range.begin < range.end) kernel.strip(state, group, strip, range);
    }
  }
  write_output(state);
}

void attend_entries(std::span<const ConstPageData> pages, int size, DType type, int head_dim, const float* q,
                    int64_t q_head, int group, float scale, float* weights, int64_t stride, float* out,
                    int64_t out_head, PageAttentionScratch& scratch) {
  assert(usable(head_dim, group, type));
  const int page_count = (size + kPageSlots - 1) / kPageSlots;
  assert(size >= 1 && page_count <= static_cast<int>(pages.size()));
  assert(stride >= size && stride % kPageSlots == 0 && reinterpret_cast<uintptr_t>(weights) % 64 == 0);
  const OneQuery query{pages.data(), page_count, size,    type,   head_dim, q,       q_head,
                       group,        scale,      weights, stride, out,      out_head};
  choose_kernel(type).attend(query, scratch);
}

}  // namespace kvlab
