// The end of the context: a method with at=context acts once on all layers and heads. After that the
// context's method of a two-phase recipe is done, and what it carried is let go.
#include <algorithm>
#include <numeric>

#include "cache/kv_cache.h"
#include "cache/query_memory.h"

namespace kvlab {

void KvCache::end_context() {
  if (context_ended_) return;
  context_ended_ = true;
  if (!options_.imposed && acting().scorer && acting().spec.policy.at_context) act_at_end_of_context();
  if (stages_.size() > 1) leave_context_stage();
  note_allocated();
}

void KvCache::act_at_end_of_context() {
  const ModelShape& shape = method_->shape;
  const WeightsScorer* weights = acting().weights();
  const int unit_heads = weights && weights->joint_heads() ? shape.kv_heads : 1;
  std::vector<int32_t> gone;
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; head += unit_heads) {
      if (acting().periodic()) {
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
  const int first = first_state(stages_.size() - 1, head), width = acting().carried_floats(head);
  const auto size = static_cast<int64_t>(positions.size());
  std::vector<float> state(static_cast<size_t>(width * size)), scores(size);
  for (int w = 0; w < width; ++w) {
    for (int64_t s = 0; s < size; ++s) state[w * size + s] = lead.state(first + w, static_cast<int>(s));
  }
  if (const WeightsScorer* weights = acting().weights()) {
    weights->score(state.data(), size, positions, tokens_, scores.data());
  } else {
    scores = state;
  }
  const EvictionCounts now =
      act_once(acting().spec.policy.of_head(layer, head), tokens_, positions, scores, gone);
  counts_ += {now.evictions * heads, now.forced * heads};
}

void KvCache::end_context_of_head(int layer, int head, std::vector<int32_t>& gone) {
  const HeadStore& entries = store(layer, head);
  const int d = method_->shape.head_dim;
  const std::vector<int32_t> slots_positions = entries.positions();
  const auto count = static_cast<int64_t>(slots_positions.size());
  std::vector<int32_t> order(count), positions(count);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return slots_positions[a] < slots_positions[b]; });
  std::vector<float> k(count * d), v(count * d), scores(count);
  for (int64_t i = 0; i < count; ++i) {
    positions[i] = slots_positions[order[i]];
    row_to_float(entries.key(order[i]), options_.type, d, k.data() + i * d);
    row_to_float(entries.value(order[i]), options_.type, d, v.data() + i * d);
  }
  score_live(layer, head, tokens_, positions, k.data(), v.data(), scores.data());
  counts_ += act_once(acting().spec.policy.of_head(layer, head), tokens_, positions, scores, gone);
  for (int32_t& i : gone) i = order[i];
  std::sort(gone.begin(), gone.end(), std::greater<>());
}

void KvCache::leave_context_stage() {
  stages_.pop_back();
  for (int layer = 0; layer < method_->shape.layers; ++layer) {
    for (int head = 0; head < method_->shape.kv_heads; ++head)
      stores_[index(layer, head)].narrow_state(first_state(stages_.size(), head));
  }
}

}  // namespace kvlab
