// What is common to all attention: limits, scale, and a block of queries. The kernels are in
// kernels/page_attention.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace kvlab {

inline constexpr int32_t kNever = std::numeric_limits<int32_t>::max();

// What q . k is multiplied with: 1 / sqrt(head_dim).
inline float attention_scale(int head_dim) {
  return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

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

// Whether attention uses AVX512_BF16 instructions for bfloat16: the processor has them and nobody said no.
// Saying no is for tests and benchmarks.
bool attention_uses_bf16_instructions();
void attention_allow_bf16_instructions(bool allow);

}  // namespace kvlab
