// How keys and values of one KV head lie in memory: in pages of 16 slots, laid out as the attention kernels
// read them, so that neither kernel packs or converts anything before it starts. A slot that is not used
// holds zeros or what an evicted entry left: finite numbers that are masked or weighted with 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace kvlab {

// One vector of AVX-512 holds an element (or a pair of bfloat16 elements) of all keys of a page.
inline constexpr int kPageSlots = 16;

// Elements of a page's keys and of its values. Rows of values are padded to whole vectors of 16.
constexpr int value_stride(int head_dim) {
  return (head_dim + 15) / 16 * 16;
}
constexpr size_t page_key_elements(int head_dim) {
  return static_cast<size_t>(kPageSlots) * head_dim;
}
constexpr size_t page_value_elements(int head_dim) {
  return static_cast<size_t>(kPageSlots) * value_stride(head_dim);
}

// Where element i of a slot lies. Keys have the slot fastest: f32 [head_dim][16], bf16 in pairs of
// neighbouring elements [head_dim / 2][16][2], as the bfloat16 dot product takes them. Values: f32
// [16][value_stride], bf16 in pairs of neighbouring slots [8][value_stride][2].
constexpr size_t key_element(DType type, int slot, int i) {
  if (type == DType::kF32) return static_cast<size_t>(i) * kPageSlots + slot;
  return (static_cast<size_t>(i / 2) * kPageSlots + slot) * 2 + i % 2;
}
constexpr size_t value_element(DType type, int slot, int i, int head_dim) {
  if (type == DType::kF32) return static_cast<size_t>(slot) * value_stride(head_dim) + i;
  return (static_cast<size_t>(slot / 2) * value_stride(head_dim) + i) * 2 + slot % 2;
}

// Both aligned to 64 bytes.
struct PageData {
  void* k = nullptr;
  void* v = nullptr;
};
struct ConstPageData {
  const void* k = nullptr;
  const void* v = nullptr;
};

// Writes `rows` entries to slots first_slot, ... of a page; row r at k + r * stride and v + r * stride,
// floats that are rounded to `type`. head_dim is even; first_slot + rows <= 16.
void write_entries(const float* k, const float* v, int64_t stride, int rows, int first_slot, int head_dim,
                   DType type, PageData page);
// The key and value of a slot as floats; either may be null.
void read_entry(ConstPageData page, int slot, int head_dim, DType type, float* k, float* v);
// The same for all 16 slots: rows of head_dim floats, `stride` apart.
void read_page(ConstPageData page, int head_dim, DType type, int64_t stride, float* k, float* v);
// Copies an entry from one page's slot to another's, unchanged.
void copy_entry(ConstPageData from, int from_slot, PageData to, int to_slot, int head_dim, DType type);

// A page as the kernels read it. Slots [0, count) are live.
struct EntryPage {
  const void* k = nullptr;
  const void* v = nullptr;
  int32_t count = 0;
  const int32_t* position = nullptr;  // [count], or null: first_position, first_position + 1, ...
  int32_t first_position = 0;
  const int32_t* evict_at =
      nullptr;  // [count], or null: never. Query i sees entry j iff j <= i < evict_at[j].
};

}  // namespace kvlab
