// Rows of a piece's queries for one KV head, as the blocked kernel takes them. Internal to src/cache.
#pragma once

#include "cache/kv_cache.h"
#include "kernels/attention.h"

namespace kvlab {

inline QueryBlock query_block(const LayerBlock& piece, const ModelShape& shape, int head, int first_row,
                              int rows) {
  const int64_t offset = int64_t{1} * head * shape.group() * shape.head_dim;
  QueryBlock queries;
  queries.q = piece.q + first_row * piece.q_stride + offset;
  queries.out = piece.out + first_row * piece.out_stride + offset;
  queries.q_row = piece.q_stride;
  queries.out_row = piece.out_stride;
  queries.q_head = queries.out_head = shape.head_dim;
  queries.queries = rows;
  queries.group = shape.group();
  queries.head_dim = shape.head_dim;
  queries.first_query = static_cast<int32_t>(piece.first + first_row);
  queries.scale = attention_scale(shape.head_dim);
  return queries;
}

}  // namespace kvlab
