// The attention that some queries pay to keys, summed up per key, or the most that any pays.
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

// Raises peaks[j - first] to weights[i] a_ij where that is more, for the queries i and first <= j < last;
// a_ij as above, weights: [count], none negative. k has as many keys as any query sees. The result does not
// depend on threads or on how the queries are cut into calls.
void query_peaks(const VotingQueries& queries, const float* weights, const float* k, int head_dim,
                 float scale, int64_t first, int64_t last, Buffer<float>& scratch, float* peaks);

namespace reference {
void query_votes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                 int64_t voted, double* votes);
void query_peaks(const VotingQueries& queries, const float* weights, const float* k, int head_dim,
                 float scale, int64_t first, int64_t last, float* peaks);
}  // namespace reference

}  // namespace kvlab
