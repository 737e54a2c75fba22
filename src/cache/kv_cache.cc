#include "cache/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "cache/query_memory.h"
#include "kernels/elementwise.h"

namespace kvlab {

namespace {

// Floats carried per entry of a head: a fixed score, or a weights scorer's state (kept once for heads that
// decide jointly).
int state_width(const Method& method, int head) {
  if (method.fixed()) return 1;
  if (const WeightsScorer* scorer = method.weights())
    return scorer->joint_heads() && head > 0 ? 0 : scorer->state_width();
  return 0;
}

}  // namespace

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
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      stores_.emplace_back(shape.head_dim, options_.type, state_width(*method_, head));
    }
  }
  if (method_->periodic()) memories_.resize(stores_.size());
  record_.heads = shape.kv_heads;
  if (options_.record_lifetimes) record_.evict_at.resize(stores_.size());
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
  if (method_->weights() && !options_.imposed) {
    attend_by_weights(block);
  } else if (method_->periodic() && !options_.imposed) {
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
  allocated_ = 0;
  for (const HeadStore& store : stores_) allocated_ += store.allocated();
  for (const auto& memory : memories_) allocated_ += memory ? memory->bytes() : 0;
  peak_bytes_ = std::max(peak_bytes_, allocated_);
}

void KvCache::note_eviction(int layer, int head, int64_t position, int64_t n) {
  if (static_cast<int64_t>(evicted_at_.size()) <= n) evicted_at_.resize(n + 1);
  ++evicted_at_[n];
  if (options_.imposed) ++counts_.evictions;  // nobody decides, so nobody else counts
  if (options_.record_lifetimes) record_.evict_at[index(layer, head)][position] = static_cast<int32_t>(n);
}

void KvCache::end_context() {
  if (context_ended_) return;
  context_ended_ = true;
  const Policy& policy = method_->spec.policy;
  if (!policy.at_context || !method_->scorer || options_.imposed) return;
  const ModelShape& shape = method_->shape;
  const WeightsScorer* weights = method_->weights();
  const int unit_heads = weights && weights->joint_heads() ? shape.kv_heads : 1;
  std::vector<int32_t> gone;
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; head += unit_heads) {
      if (method_->periodic()) {
        end_context_of_head(layer, head, gone);
      } else {
        end_context_of_unit(layer, head, unit_heads, gone);
      }
      for (int h = head; h < head + unit_heads; ++h) {
        for (const int32_t slot : gone) note_eviction(layer, h, store(layer, h).position(slot), tokens_);
        stores_[index(layer, h)].remove(gone);
      }
    }
  }
}

// Fixed scores and what weights scorers carry lie in the store. `gone` receives slots in descending order.
void KvCache::end_context_of_unit(int layer, int head, int heads, std::vector<int32_t>& gone) {
  const HeadStore& lead = store(layer, head);
  const std::vector<int32_t> positions = lead.positions();
  const int width = state_width(*method_, head);
  const auto size = static_cast<int64_t>(positions.size());
  std::vector<float> state(static_cast<size_t>(width * size)), scores(size);
  for (int w = 0; w < width; ++w) {
    for (int64_t s = 0; s < size; ++s) state[w * size + s] = lead.state(w, static_cast<int>(s));
  }
  if (const WeightsScorer* weights = method_->weights()) {
    weights->score(state.data(), size, positions, tokens_, scores.data());
  } else {
    scores = state;
  }
  const EvictionCounts now =
      act_once(method_->spec.policy.of_head(layer, head), tokens_, positions, scores, gone);
  counts_ += {now.evictions * heads, now.forced * heads};
}

CacheBytes KvCache::bytes() const {
  CacheBytes total;
  for (const HeadStore& store : stores_) total += store.bytes();
  for (const auto& memory : memories_) total.scores += memory ? memory->bytes() : 0;
  return total;
}

int64_t KvCache::live_entries() const {
  int64_t total = 0;
  for (const HeadStore& store : stores_) total += store.size();
  return total;
}

}  // namespace kvlab
