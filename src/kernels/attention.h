// Attention over live entries. Two kernels: blocked, for lifetimes known beforehand, and one query at a time,
// for policies that need the weights. Both read keys already rotated; scores, softmax and sums are in float.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

inline constexpr int32_t kNever = std::numeric_limits<int32_t>::max();

// What q . k is multiplied with: 1 / sqrt(head_dim).
inline float attention_scale(int head_dim) {
  return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

// Entries of one KV head as they lie in memory: `count` rows of head_dim elements.
struct EntrySpan {
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;  // elements between rows
  int32_t count = 0;
  const int32_t* position = nullptr;  // [count], or null: first_position, first_position + 1, ...
  int32_t first_position = 0;
  const int32_t* evict_at = nullptr;  // [count], or null: kNever. Query i sees entry j iff j <= i < evict_at.
};

// A block of queries of the query heads that share one KV head. q and out: [queries][group][head_dim] with
// strides in floats. Query row r has position first_query + r.
struct QueryBlock {
  const float* q = nullptr;
  float* out = nullptr;
  int64_t q_row = 0, q_head = 0, out_row = 0, out_head = 0;
  int queries = 0, group = 1, head_dim = 0;
  int32_t first_query = 0;
  float scale = 1.0f;  // applied to q . k
};

// Queries handled per task; callers cut longer runs into blocks of this size so that results do not depend on
// threads.
inline constexpr int kQueryBlock = 64;
inline constexpr int kMaxHeadDim = 256, kMaxGroup = 16;

// Working memory of one thread.
struct AttentionScratch {
  Buffer<float> q, k, v, s, out, stats;
  Buffer<int32_t> index;
};

// out[r][g] = sum_j softmax_j(scale q.k_j) v_j over the entries query r sees. Every query must see at least
// one entry (its own). Cost follows the entries alive for the block, not the length of the history. queries
// <= kQueryBlock, head_dim a multiple of 4 up to kMaxHeadDim, group <= kMaxGroup, type kF32 or kBF16. How
// entries are cut into spans does not change the result at all. With kF32, queries and probabilities stay in
// float. With kBF16 on a processor with AVX512_BF16 both are rounded to bfloat16 (as keys and values are
// already): each term of a score and each weight moves by up to 2^-9 of itself, results by some 3e-3 of the
// largest |v| (measured with scores up to about 5); elsewhere only keys and values are bfloat16.
void lifetime_attention(const QueryBlock& block, std::span<const EntrySpan> entries, DType type,
                        AttentionScratch& scratch);
// The same in plain loops and double sums; the tests' reference.
void lifetime_attention_reference(const QueryBlock& block, std::span<const EntrySpan> entries, DType type);

// Whether lifetime_attention uses AVX512_BF16 instructions for kBF16: the processor has them and nobody said
// no. Saying no is for tests and benchmarks.
bool attention_uses_bf16_instructions();
void attention_allow_bf16_instructions(bool allow);

// The live entries of one KV head for the one-query kernel: slots [0, size) are live, removing a slot moves
// the last one into it. Layout: keys in tiles of 16 slots with the slot index fastest, values row by row.
class SlotStore {
 public:
  SlotStore(int head_dim, DType type);
  int size() const { return size_; }
  int capacity() const { return capacity_; }
  // k and v are head_dim floats; they are rounded to the store's type.
  void append(const float* k, const float* v);
  // The last slot takes the place of `slot`.
  void remove(int slot);
  void key(int slot, float* out) const;
  void value(int slot, float* out) const;

  // For each of `group` query heads: weights[g * stride + slot] = softmax over the live slots of scale q_g .
  // k_slot, and out[g * head_dim ...] = sum of weights times values. stride >= size rounded up to 16; the
  // tail is set to 0.
  void attend(const float* q, int group, float scale, float* weights, int64_t stride, float* out) const;

 private:
  void grow();
  int head_dim_;
  int v_stride_;  // head_dim rounded up to 16, so that rows of V are whole vectors
  DType type_;
  int size_ = 0, capacity_ = 0;
  Buffer<float> k32_, v32_;
  Buffer<BF16> k16_, v16_;
};

}  // namespace kvlab
