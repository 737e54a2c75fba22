// Attention when lifetimes are known before it runs: no compression, fixed scorers, imposed evictions. Scores
// become evict_at, the blocked kernel reads what is alive, and what has died goes before the next piece, so
// that pages are nearly always full of live entries.
#include <algorithm>
#include <span>

#include "cache/attend_scratch.h"
#include "cache/kv_cache.h"
#include "cache/query_block.h"

namespace kvlab {

bool KvCache::plan_evictions(const LayerBlock& piece, int head, AttendScratch& scratch) {
  HeadStore& store = entries(piece.layer, head);
  const auto size = static_cast<size_t>(store.size());
  if (options_.imposed) {
    const std::vector<int32_t>& evict_at = options_.imposed->evict_at[index(piece.layer, head)];
    scratch.evict_at.resize(size);
    for (size_t slot = 0; slot < size; ++slot)
      scratch.evict_at[slot] = evict_at[store.position(static_cast<int>(slot))];
    return true;
  }
  if (!acting().fixed()) return false;
  const Policy policy = acting().policy_of(piece.layer, head, options_.type);
  if (!may_evict(policy, store.size() - piece.rows, piece.first, piece.rows)) return false;
  scratch.evict_at.resize(size);
  const std::span<const int32_t> positions = store.stored_positions();  // first: it may move the scores
  const float* scores = store.state_row(first_state(stages_.size() - 1, head));
  const EvictionCounts counts =
      plan_lifetimes(policy, {positions, {scores, size}, store.size() - piece.rows, piece.first},
                     scratch.evict_at, scratch.lifetimes);
  changes_[index(piece.layer, head)].counts += counts;
  return counts.evictions > 0;
}

bool KvCache::plan(const LayerBlock& piece, int head, AttendScratch& scratch) {
  const bool evicted = plan_evictions(piece, head, scratch);
  const int64_t window = method_->shape.window(piece.layer), end = piece.first + piece.rows;
  if (!evicted) return limit_to_window(piece.layer, head, end, scratch);
  if (window == 0) return true;
  const HeadStore& store = entries(piece.layer, head);
  for (int slot = 0; slot < store.size(); ++slot) {
    int32_t& evict_at = scratch.evict_at[slot];
    evict_at = static_cast<int32_t>(std::min<int64_t>(evict_at, store.position(slot) + window));
  }
  return true;
}

bool KvCache::limit_to_window(int layer, int head, int64_t end, AttendScratch& scratch) {
  const int64_t window = method_->shape.window(layer);
  if (window == 0 || end < window) return false;
  const HeadStore& store = entries(layer, head);
  scratch.evict_at.resize(store.size());
  for (int slot = 0; slot < store.size(); ++slot)
    scratch.evict_at[slot] = static_cast<int32_t>(store.position(slot) + window);
  return true;
}

void KvCache::remove_dead(int layer, int head, int64_t end, AttendScratch& scratch) {
  const HeadStore& store = entries(layer, head);
  HeadChanges& changes = changes_[index(layer, head)];
  scratch.gone.clear();
  for (int slot = store.size() - 1; slot >= 0; --slot) {
    if (scratch.evict_at[slot] > end) continue;
    scratch.gone.push_back(slot);
    changes.evictions.push_back({store.position(slot), scratch.evict_at[slot]});
  }
  remove(layer, head, scratch.gone);
}

void KvCache::expire(int layer, int head, int64_t n) {
  const int64_t window = method_->shape.window(layer);
  if (window == 0 || n < window) return;
  const std::span<const int32_t> positions = entries(layer, head).stored_positions();
  // One token more has been seen than the last time, so one entry at most is out of reach.
  const auto found = std::find(positions.begin(), positions.end(), static_cast<int32_t>(n - window));
  if (found == positions.end()) return;
  const auto slot = static_cast<int32_t>(found - positions.begin());
  evict(layer, head, {&slot, 1}, n);
}

void KvCache::attend_by_lifetimes(const LayerBlock& piece, int head, AttendScratch& scratch) {
  HeadStore& store = entries(piece.layer, head);
  append_rows(piece, head, 0, piece.rows);
  const bool some_go = plan(piece, head, scratch);
  store.entry_pages(some_go ? scratch.evict_at.data() : nullptr, scratch.pages);
  page_attention(query_block(piece, method_->shape, head, 0, piece.rows), scratch.pages, options_.type,
                 scratch.kernel);
  if (some_go) remove_dead(piece.layer, head, piece.first + piece.rows, scratch);
}

}  // namespace kvlab
