// What a periodic scorer needs to know about past queries of one KV head, carried across extends: the last
// few queries, and the moments of all queries with their rotation undone.
#pragma once

#include <cstdint>

#include "tensor/buffer.h"

namespace kvlab {

// The queries of neighbouring tokens. Row r has the vectors q[r * q_row + g * q_head ...], g < group, of
// head_dim floats, rotated by cos and sin: [rows][pairs].
struct QueryRows {
  const float* q = nullptr;
  int64_t q_row = 0, q_head = 0;
  const float *cos = nullptr, *sin = nullptr;
  int pairs = 0;
  int rows = 0;
};

class QueryMemory {
 public:
  // `recent` queries are kept (0: none, Scorer::kAllQueries: all); `moments` of dimension group x (head_dim +
  // head_dim^2) doubles.
  QueryMemory(int group, int head_dim, int recent, bool moments);
  QueryMemory(const QueryMemory& other);
  QueryMemory& operator=(const QueryMemory&) = delete;

  // The queries of the next tokens. Those from row `first_counted` on belong to the moments (positions from
  // the sinks on); it may lie beyond the rows. How tokens are cut into calls changes no bit.
  void append_rows(const QueryRows& queries, int64_t first_counted);
  // The query of the next token alone.
  void append(const float* q, int64_t q_head, const float* cos, const float* sin, int pairs, bool counted) {
    append_rows({q, 0, q_head, cos, sin, pairs, 1}, counted ? 0 : 1);
  }

  int recent_rows() const { return static_cast<int>(recent_ < 0 || seen_ < recent_ ? seen_ : recent_); }
  // The last recent_rows() queries, oldest first: [rows][group][head_dim].
  void copy_recent(float* out) const;
  // Queries in the moments, and their sums per query head of the group: [head_dim], [head_dim][head_dim]
  // (lower triangle).
  int64_t counted() const { return counted_; }
  const double* sum(int g) const { return sums_.data() + static_cast<int64_t>(g) * head_dim_; }
  const double* outer(int g) const {
    return outers_.data() + static_cast<int64_t>(g) * head_dim_ * head_dim_;
  }

  int64_t bytes() const { return static_cast<int64_t>(ring_.bytes() + sums_.bytes() + outers_.bytes()); }

 private:
  void remember(const QueryRows& queries);
  void make_room(int64_t rows);
  void add_to_moments(const QueryRows& queries, int first);

  int group_, head_dim_;
  int64_t recent_, seen_ = 0, counted_ = 0;
  Buffer<float, Account::kCache> ring_;
  Buffer<double, Account::kCache> sums_, outers_;
};

}  // namespace kvlab
