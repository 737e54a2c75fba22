#include "cache/block_run.h"

#include "kernels/elementwise.h"

namespace kvlab {

BlockRun::BlockRun(const LayerBlock& block, const ModelShape& shape, DType type)
    : block_(block),
      group_(shape.group()),
      head_dim_(shape.head_dim),
      type_(type),
      stride_(block.kv_stride),
      element_(static_cast<int64_t>(element_size(type))),
      heads_(shape.kv_heads) {
  if (type == DType::kF32) {
    k_ = reinterpret_cast<const std::byte*>(block.k);
    v_ = reinterpret_cast<const std::byte*>(block.v);
    return;
  }
  const int row_size = shape.kv_heads * shape.head_dim;
  stride_ = row_size;
  k16_ = Buffer<BF16>(static_cast<size_t>(block.rows) * row_size);
  v16_ = Buffer<BF16>(static_cast<size_t>(block.rows) * row_size);
  for (int r = 0; r < block.rows; ++r) {
    to_bf16(block.k + r * block.kv_stride, row_size, k16_.data() + static_cast<size_t>(r) * row_size);
    to_bf16(block.v + r * block.kv_stride, row_size, v16_.data() + static_cast<size_t>(r) * row_size);
  }
  k_ = reinterpret_cast<const std::byte*>(k16_.data());
  v_ = reinterpret_cast<const std::byte*>(v16_.data());
}

void BlockRun::set_store(int head, const HeadStore& store) {
  heads_[head].evict_old.assign(store.size(), kNever);
  heads_[head].evict_new.assign(block_.rows, kNever);
}

void BlockRun::build_spans(int head, const HeadStore& store) {
  Head& h = heads_[head];
  store.add_spans(h.evict_old.data(), h.spans);
  EntrySpan fresh;
  fresh.k = key(head, 0);
  fresh.v = value(head, 0);
  fresh.k_stride = fresh.v_stride = stride_;
  fresh.count = block_.rows;
  fresh.first_position = static_cast<int32_t>(block_.first);
  fresh.evict_at = h.evict_new.data();
  h.spans.push_back(fresh);
}

void BlockRun::attend(int head, int first_row, int rows, AttentionScratch& scratch) const {
  const int64_t offset = static_cast<int64_t>(head) * group_ * head_dim_;
  QueryBlock queries;
  queries.q = block_.q + first_row * block_.q_stride + offset;
  queries.out = block_.out + first_row * block_.out_stride + offset;
  queries.q_row = block_.q_stride;
  queries.out_row = block_.out_stride;
  queries.q_head = queries.out_head = head_dim_;
  queries.queries = rows;
  queries.group = group_;
  queries.head_dim = head_dim_;
  queries.first_query = static_cast<int32_t>(block_.first + first_row);
  queries.scale = attention_scale(head_dim_);
  lifetime_attention(queries, heads_[head].spans, type_, scratch);
}

}  // namespace kvlab
