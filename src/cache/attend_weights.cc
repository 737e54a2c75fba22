// Attention for scorers that need the weights of every query: token by token inside the piece over live
// entries. The weights go to the scorer and the budget acts before the next query, so this is what decoding
// would do, without its GEMMs of one row.
#include <algorithm>

#include "cache/attend_scratch.h"
#include "cache/kv_cache.h"
#include "kernels/attention.h"

namespace kvlab {

// Shows one query's weights on head h of a chain to all weights scorers.
void KvCache::observe(const LayerBlock& piece, int first_head, int h, const float* weights, int64_t stride) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    const WeightsScorer* scorer = stages_[s].method->weights();
    if (!scorer) continue;
    const bool joint = scorer->joint_heads();
    const int lead = first_head + (joint ? 0 : h);  // whose state it is
    HeadStore& store = entries(piece.layer, lead);
    scorer->observe({weights, stride, method_->shape.group(), store.size(),
                     store.state_row(first_state(s, lead)), store.state_stride(), joint ? h : 0,
                     joint ? chain_heads_ : 1});
  }
}

void KvCache::attend_row(const LayerBlock& piece, int first_head, int row, AttendScratch& scratch) {
  const int d = method_->shape.head_dim, group = method_->shape.group();
  for (int h = 0; h < chain_heads_; ++h) append_rows(piece, first_head + h, row, 1);
  for (int h = 0; h < chain_heads_; ++h) {
    const HeadStore& store = entries(piece.layer, first_head + h);
    const int64_t stride = static_cast<int64_t>(store.pages().size()) * kPageSlots;
    const int64_t offset = int64_t{1} * (first_head + h) * group * d;
    scratch.weights.reserve_discard(static_cast<size_t>(group * stride) * 3 / 2);
    attend_entries(store.pages(), store.size(), options_.type, d, piece.q + row * piece.q_stride + offset, d,
                   group, attention_scale(d), scratch.weights.data(), stride,
                   piece.out + row * piece.out_stride + offset, d, scratch.kernel);
    observe(piece, first_head, h, scratch.weights.data(), stride);
  }
}

void KvCache::act_on_chain(const LayerBlock& piece, int first_head, int64_t n, const Policy& policy,
                           AttendScratch& scratch) {
  if (!acting().acts_plainly()) return act_together(piece.layer, first_head, chain_heads_, n, scratch);
  HeadStore& lead = entries(piece.layer, first_head);
  if (!policy.threshold() && lead.size() <= policy.limit_at(n)) return;
  const std::span<const int32_t> positions = lead.stored_positions();
  scratch.scores.resize(positions.size());
  acting().weights()->score(lead.state_row(first_state(stages_.size() - 1, first_head)), lead.state_stride(),
                            positions, n, scratch.scores.data());
  const EvictionCounts now = act_once(policy, n, positions, scratch.scores, scratch.gone);
  for (int h = 0; h < chain_heads_; ++h) {
    changes_[index(piece.layer, first_head + h)].counts += now;
    evict(piece.layer, first_head + h, scratch.gone, n);
  }
}

void KvCache::attend_by_weights(const LayerBlock& piece, int chain, AttendScratch& scratch) {
  const int first_head = chain * chain_heads_;
  const Policy policy = acting().policy_of(piece.layer, first_head, options_.type);
  const bool acts = acting().weights() && !policy.neutral();
  for (int r = 0; r < piece.rows; ++r) {
    attend_row(piece, first_head, r, scratch);
    const int64_t n = piece.first + r + 1;
    for (int h = 0; h < chain_heads_; ++h) expire(piece.layer, first_head + h, n);
    if (acts && policy.acts(n)) act_on_chain(piece, first_head, n, policy, scratch);
  }
  for (int h = 0; h < chain_heads_; ++h) remember_queries(piece, first_head + h, 0, piece.rows);
}

}  // namespace kvlab
