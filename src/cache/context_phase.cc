// The end of the context: a method with at=context acts once on all layers and heads. After that the
// context's method of a two-phase recipe is done, and what it carried is let go.
#include "base/threads.h"
#include "cache/attend_scratch.h"
#include "cache/kv_cache.h"
#include "cache/query_memory.h"

namespace kvlab {

void KvCache::end_context(const ContextScores* scores) {
  if (context_ended_) return;
  context_ended_ = true;
  given_ = scores;
  if (!options_.imposed && acting().scorer && acting().spec.policy.at_context) act_at_end_of_context();
  given_ = nullptr;
  if (stages_.size() > 1) leave_context_stage();
  end();
}

void KvCache::act_at_end_of_context() {
  for (size_t i = 0; i < changes_.size(); ++i) changes_[i].peak_bytes = stores_[i].allocated();
  const int layers = method_->shape.layers, heads = method_->shape.kv_heads;
  if (acting().acts_plainly()) {
    parallel_tasks(layers * chains(), [&](int task, int) {
      end_context_of_chain(task / chains(), task % chains() * chain_heads_, attend_scratch());
    });
  } else if (acting().shares_over_model()) {
    act_on_model(tokens_);
  } else {
    const bool joint_scores = acting().weights() && acting().weights()->joint_heads();
    const int together = acting().acts_jointly() || joint_scores ? heads : 1;
    const int units = heads / together;
    parallel_tasks(layers * units, [&](int task, int) {
      act_together(task / units, task % units * together, together, tokens_, attend_scratch());
    });
  }
  if (acting().renumbers()) rotary_shift_ = tokens_ - stores_.front().size();
}

// Fixed scores and what weights scorers carry lie in the store.
void KvCache::end_context_of_chain(int layer, int head, AttendScratch& scratch) {
  if (acting().periodic()) {
    for (int h = head; h < head + chain_heads_; ++h) act_on_head(layer, h, tokens_, scratch);
    return;
  }
  const WeightsScorer* weights = acting().weights();
  // A stage below may join the heads into one chain although this one decides for each head apart.
  const int heads = weights && weights->joint_heads() ? chain_heads_ : 1;
  for (int first = head; first < head + chain_heads_; first += heads) {
    HeadStore& lead = entries(layer, first);
    const std::span<const int32_t> positions = lead.stored_positions();
    scratch.scores.assign(positions.size(), 0.0f);
    if (!positions.empty()) {
      const float* state = lead.state_row(first_state(stages_.size() - 1, first));
      if (weights) {
        weights->score(state, lead.state_stride(), positions, tokens_, scratch.scores.data());
      } else {
        std::copy_n(state, positions.size(), scratch.scores.data());
      }
    }
    const EvictionCounts now = act_once(acting().policy_of(layer, first, options_.type), tokens_, positions,
                                        scratch.scores, scratch.gone);
    for (int h = first; h < first + heads; ++h) {
      changes_[index(layer, h)].counts += now;
      evict(layer, h, scratch.gone, tokens_);
    }
  }
}

void KvCache::leave_context_stage() {
  stages_.pop_back();
  for (int layer = 0; layer < method_->shape.layers; ++layer) {
    for (int head = 0; head < method_->shape.kv_heads; ++head)
      entries(layer, head).narrow_state(first_state(stages_.size(), head));
  }
  choose_path();
}

}  // namespace kvlab
