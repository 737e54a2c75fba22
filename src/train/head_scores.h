// How far back each KV head looks, measured without training, for DuoAttention: kvpress's quick recipe. The
// mean query and the mean key of a text, rotation undone, stand at every one of some positions; what the last
// such query pays to the keys is summed up from the first one on, and the mean of the sums is the score. It
// is 1 when all goes to the first position, and 1 / positions when all goes to the query's own.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/kv_cache.h"

namespace kvlab {

// Sums up a text's queries and keys while a session reads it.
class MeanDirections : public LayerTap {
 public:
  explicit MeanDirections(const ModelShape& shape);
  void see(const LayerBlock& block) override;

  // Scores of the KV heads, the mean over the query heads of each: [layers][kv_heads]. positions > 0.
  std::vector<double> scores(int positions) const;

 private:
  void add(const float* x, int64_t stride, int heads, int rows, const RotaryTable& rotary,
           double* sums) const;

  ModelShape shape_;
  std::vector<int64_t> tokens_;         // seen, per layer
  std::vector<double> queries_, keys_;  // sums: [layers][query_heads][head_dim], [layers][kv_heads][head_dim]
};

// What a query q at the last of `positions` positions pays to keys k at each of them: the mean of its sums
// from the first position on. q and k: [head_dim], not rotated.
double weight_behind(const double* q, const double* k, int head_dim, const RotaryFrequencies& frequencies,
                     int positions);

}  // namespace kvlab
