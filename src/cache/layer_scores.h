// Scores of all entries of a layer at the end of a context, of which context scorers are made: how far keys
// stand out from the others, and the attention that a chunk's tokens pay to each other.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/scorer.h"

namespace kvlab {

using LayerScores = std::vector<std::vector<double>>;  // [KV head][entry of its view]

// The entries of a view that are not protected.
PeriodicView unprotected_part(const PeriodicView& view, int head_dim);

struct LeverageOptions {
  int sketch = 48;      // dimensions that keys are projected to at random; 0: none
  double ridge = 0.01;  // added to the squares' matrix
  uint64_t seed = 0;    // of the projections, one for each layer and KV head
};
// Each key's leverage among the keys of its head: x_t^T (X^T X + ridge I)^-1 x_t, X the keys with their
// rotation undone, less their mean, projected.
LayerScores key_leverage(const ModelShape& shape, const LeverageOptions& options,
                         std::span<const PeriodicView> heads);

struct ChunkAttentionOptions {
  int chunk = 256;      // entries, from the view's first one on
  bool scaled = false;  // whether q.k is divided by sqrt(head_dim)
  bool padded = true;   // whether the last chunk is filled up with queries and keys of zeros
};
// Within each chunk, whatever the order of tokens: the attention that an entry gets from the chunk's queries,
// summed, and the mean over the group, times the length of its value; then the mean over the entry and its
// two neighbours, zeros beyond the ends. The views must remember all queries.
LayerScores chunk_attention(const ModelShape& shape, const ChunkAttentionOptions& options,
                            std::span<const PeriodicView> heads);

// Makes the mean over the layer 0 and the standard deviation (divisor N - 1) 1.
void standardise(LayerScores& scores);

}  // namespace kvlab
