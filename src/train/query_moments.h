// Moments of a model's queries over a text, per layer and query head: what Q-Filters and the statistics of
// ExpectedAttention are made from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/kv_cache.h"

namespace kvlab {

// Looks on while sessions read documents, one after the other.
class QueryMoments : public LayerTap {
 public:
  enum class Form { kRotated, kPlain };  // as attention uses them, or with their rotation undone
  // Queries of each document's first `skipped` positions do not count.
  QueryMoments(const ModelShape& shape, Form form, int64_t skipped);

  void see(const LayerBlock& block) override;

  int64_t counted() const { return counted_; }  // queries of each head
  // The sums over queries: [head_dim], and of q q^T [head_dim][head_dim], of which the lower triangle counts.
  std::span<const double> sum(int layer, int query_head) const;
  std::span<const double> outer(int layer, int query_head) const;

 private:
  size_t place(int layer, int query_head) const {
    return static_cast<size_t>(layer) * shape_.query_heads + query_head;
  }
  void add_rows(const LayerBlock& block, int query_head, int first);

  ModelShape shape_;
  Form form_;
  int64_t skipped_, counted_ = 0;
  std::vector<double> sums_, outers_;
};

// The unit vector x for which x^T A x is largest, A symmetric and positive: [n][n], of which the lower
// triangle is read. `start` is where the search begins and what x has a positive product with; it must not be
// zero.
std::vector<double> leading_direction(std::span<const double> a, std::span<const double> start);

}  // namespace kvlab
