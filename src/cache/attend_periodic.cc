// Attention for scorers that score all live entries anew whenever the budget acts, and for methods whose
// actions are more than lifetimes can say. Between two actions nothing goes but what leaves a layer's own
// window, so the blocked kernel runs from action to action.
#include <algorithm>
#include <numeric>

#include "cache/attend_scratch.h"
#include "cache/kv_cache.h"
#include "cache/query_block.h"
#include "cache/query_memory.h"

namespace kvlab {

void KvCache::score_in_order(int layer, int head, int64_t n, AttendScratch& scratch) const {
  const HeadStore& store = stores_[index(layer, head)];
  const int d = method_->shape.head_dim;
  const auto count = static_cast<size_t>(store.size());
  scratch.order.resize(count);
  std::iota(scratch.order.begin(), scratch.order.end(), 0);
  std::sort(scratch.order.begin(), scratch.order.end(),
            [&](int32_t a, int32_t b) { return store.position(a) < store.position(b); });
  scratch.positions.resize(count);
  scratch.scores.resize(count);
  scratch.k.reserve_discard(count * d);
  scratch.v.reserve_discard(count * d);
  for (size_t i = 0; i < count; ++i) {
    scratch.positions[i] = store.position(scratch.order[i]);
    store.read(scratch.order[i], scratch.k.data() + i * d, scratch.v.data() + i * d);
  }
  PeriodicView view;
  view.layer = layer;
  view.head = head;
  view.n = n;
  view.sinks = acting().spec.policy.sinks;
  view.positions = scratch.positions;
  view.k = scratch.k.data();
  view.v = scratch.v.data();
  view.queries = stages_.back().memories[index(layer, head)].get();
  acting().periodic()->score(view, scratch.scores.data());
}

void KvCache::act_on_head(int layer, int head, int64_t n, AttendScratch& scratch) {
  const Policy policy = acting().policy_of(layer, head, options_.type);
  if (policy.neutral() || (!policy.threshold() && entries(layer, head).size() <= policy.limit_at(n))) return;
  score_in_order(layer, head, n, scratch);
  changes_[index(layer, head)].counts += act_once(policy, n, scratch.positions, scratch.scores, scratch.gone);
  for (int32_t& i : scratch.gone) i = scratch.order[i];
  std::sort(scratch.gone.begin(), scratch.gone.end(), std::greater<>());
  evict(layer, head, scratch.gone, n);
}

void KvCache::attend_by_periods(const LayerBlock& piece, int chain, AttendScratch& scratch) {
  const Policy& policy = acting().spec.policy;
  const int first_head = chain * chain_heads_;
  for (int row = 0; row < piece.rows;) {
    int64_t end = piece.rows;  // or the next action
    if (policy.budget && !policy.at_context)
      end = std::min<int64_t>(end, row + policy.every - (piece.first + row) % policy.every);
    const int rows = static_cast<int>(end) - row;
    const int64_t n = piece.first + end;
    for (int head = first_head; head < first_head + chain_heads_; ++head) {
      append_rows(piece, head, row, rows);
      const bool some_go = limit_to_window(piece.layer, head, n, scratch);
      entries(piece.layer, head).entry_pages(some_go ? scratch.evict_at.data() : nullptr, scratch.pages);
      page_attention(query_block(piece, method_->shape, head, row, rows), scratch.pages, options_.type,
                     scratch.kernel);
      remember_queries(piece, head, row, rows);
      if (some_go) remove_dead(piece.layer, head, n, scratch);
    }
    row += rows;
    if (!policy.acts(n)) continue;
    if (acting().acts_plainly()) {
      act_on_head(piece.layer, first_head, n, scratch);
    } else {
      act_together(piece.layer, first_head, chain_heads_, n, scratch);
    }
  }
}

}  // namespace kvlab
