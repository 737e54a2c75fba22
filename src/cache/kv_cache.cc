#include "cache/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "cache/query_memory.h"
#include "kernels/elementwise.h"

namespace kvlab {

KvCache::KvCache(std::shared_ptr<const Method> method, CacheOptions options)
    : method_(std::move(method)), options_(std::move(options)) {
  if (method_->planned() && !options_.imposed) {
    throw UserError(
        method_->spec.display +
        " decides before it runs what goes, so it needs the whole text beforehand: only compare, score "
        "and ppl can run it");
  }
  if (method_->spec.codec) options_.type = method_->spec.codec->type;
  const ModelShape& shape = method_->shape;
  add_stage(*method_);
  if (method_->context) add_stage(*method_->context);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head)
      stores_.emplace_back(shape.head_dim, options_.type, first_state(stages_.size(), head));
  }
  record_.heads = shape.kv_heads;
  if (options_.record_lifetimes) record_.evict_at.resize(stores_.size());
}

void KvCache::add_stage(const Method& method) {
  const ModelShape& shape = method.shape;
  stages_.push_back({&method, {}});
  if (method.periodic()) stages_.back().memories.resize(static_cast<size_t>(shape.layers) * shape.kv_heads);
}

void KvCache::attend(const LayerBlock& block) {
  KVLAB_CHECK(block.first == tokens_ || block.layer > 0);
  const ModelShape& shape = method_->shape;
  if (options_.type == DType::kBF16) {
    for (int r = 0; r < block.rows; ++r) {
      round_to_bf16(block.k + r * block.kv_stride, shape.kv_heads * shape.head_dim);
      round_to_bf16(block.v + r * block.kv_stride, shape.kv_heads * shape.head_dim);
    }
  }
  if (options_.tap) options_.tap->see(block);
  const auto any = [&](auto is_kind) {
    return !options_.imposed && std::any_of(stages_.begin(), stages_.end(), is_kind);
  };
  if (any([](const Stage& stage) { return stage.method->weights(); })) {
    attend_by_weights(block);
  } else if (any([](const Stage& stage) { return stage.method->periodic(); })) {
    attend_by_periods(block);
  } else {
    attend_by_lifetimes(block);
  }
  note_block(block);
}

void KvCache::note_block(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  if (block.layer == 0) {
    tokens_ = block.first + block.rows;
    evicted_at_.resize(tokens_ + 1);
  }
  const int64_t block_bytes = int64_t{2} * block.rows * shape.kv_heads * shape.head_dim *
                              static_cast<int64_t>(element_size(options_.type));
  peak_bytes_ = std::max(peak_bytes_, allocated_ + block_bytes);
  note_allocated();
}

void KvCache::note_allocated() {
  allocated_ = 0;
  for (const HeadStore& store : stores_) allocated_ += store.allocated();
  for (const Stage& stage : stages_) {
    for (const auto& memory : stage.memories) allocated_ += memory ? memory->bytes() : 0;
  }
  peak_bytes_ = std::max(peak_bytes_, allocated_);
}

void KvCache::note_eviction(int layer, int head, int64_t position, int64_t n) {
  if (static_cast<int64_t>(evicted_at_.size()) <= n) evicted_at_.resize(n + 1);
  ++evicted_at_[n];
  if (options_.imposed) ++counts_.evictions;  // nobody decides, so nobody else counts
  if (options_.record_lifetimes) record_.evict_at[index(layer, head)][position] = static_cast<int32_t>(n);
}

CacheBytes KvCache::bytes() const {
  CacheBytes total;
  for (const HeadStore& store : stores_) total += store.bytes();
  for (const Stage& stage : stages_) {
    for (const auto& memory : stage.memories) total.scores += memory ? memory->bytes() : 0;
  }
  return total;
}

int64_t KvCache::live_entries() const {
  int64_t total = 0;
  for (const HeadStore& store : stores_) total += store.size();
  return total;
}

}  // namespace kvlab
