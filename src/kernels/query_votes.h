// The attention that some queries pay to keys, summed up per key.
#pragma once

#include <cstdint>

#include "tensor/buffer.h"

namespace kvlab {

struct VotingQueries {
  const float* q = nullptr;          // [count][head_dim]
  const int32_t* visible = nullptr;  // [count]: query i sees the keys [0, visible[i])
  int count = 0;
};

// votes[j] = sum over queries i of a_ij for j < voted, where a_i is the softmax of scale q_i.k_j over the
// keys that query i sees; a query that sees none votes for none. k: [keys][head_dim]; every visible[i] and
// `voted` are at most keys. scratch grows as needed and may be used again. The result does not depend on
// threads; sums are float within a few queries, and double over them.
void query_votes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                 int64_t voted, Buffer<float>& scratch, double* votes);

namespace reference {
void query_votes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                 int64_t voted, double* votes);
}  // namespace reference

}  // namespace kvlab
