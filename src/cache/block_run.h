// One layer's block of new tokens on its way through the blocked kernel: keys and values in the cache's type,
// lifetimes of old and new entries, the spans that the kernel reads. Internal to src/cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/kv_cache.h"
#include "kernels/attention.h"

namespace kvlab {

class BlockRun {
 public:
  BlockRun(const LayerBlock& block, const ModelShape& shape, DType type);

  // Lifetimes of a head: of the entries in its store, by slot, and of the block's, by row. kNever to begin
  // with; may be changed as long as the queries run so far are not concerned.
  void set_store(int head, const HeadStore& store);
  std::vector<int32_t>& evict_old(int head) { return heads_[head].evict_old; }
  std::vector<int32_t>& evict_new(int head) { return heads_[head].evict_new; }
  // Call once the lifetimes' vectors are in place: the kernel reads them where they lie.
  void build_spans(int head, const HeadStore& store);

  // Attention of rows [first_row, first_row + rows) of a head's queries, rows <= kQueryBlock.
  void attend(int head, int first_row, int rows, AttentionScratch& scratch) const;

  // The key and value of a row of the block, in the cache's type.
  const std::byte* key(int head, int row) const { return k_ + (row * stride_ + head * head_dim_) * element_; }
  const std::byte* value(int head, int row) const {
    return v_ + (row * stride_ + head * head_dim_) * element_;
  }

 private:
  struct Head {
    std::vector<int32_t> evict_old, evict_new;
    std::vector<EntrySpan> spans;
  };
  const LayerBlock& block_;
  int group_, head_dim_;
  DType type_;
  const std::byte* k_ = nullptr;
  const std::byte* v_ = nullptr;
  int64_t stride_ = 0;  // elements between rows
  int64_t element_ = 4;
  Buffer<BF16> k16_, v16_;
  std::vector<Head> heads_;
};

}  // namespace kvlab
