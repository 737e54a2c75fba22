// Attention when lifetimes are known before it runs: no compression, fixed scorers, imposed evictions. Scores
// become evict_at, the blocked kernel reads what is alive, survivors are stored.
#include <algorithm>

#include "base/threads.h"
#include "cache/block_run.h"
#include "cache/kv_cache.h"

namespace kvlab {

void KvCache::plan(const LayerBlock& block, int head, const BlockScores& scores, BlockRun& run,
                   EvictionCounts& counts) const {
  const HeadStore& entries = store(block.layer, head);
  run.set_store(head, entries);
  if (options_.imposed) {
    const std::vector<int32_t>& evict_at = options_.imposed->evict_at[index(block.layer, head)];
    for (int slot = 0; slot < entries.size(); ++slot)
      run.evict_old(head)[slot] = evict_at[entries.position(slot)];
    for (int r = 0; r < block.rows; ++r) run.evict_new(head)[r] = evict_at[block.first + r];
  } else if (!scores.back().empty()) {
    const std::vector<int32_t> positions = entries.positions();
    const int first = first_state(stages_.size() - 1, head);
    std::vector<float> old_scores(positions.size());
    for (int slot = 0; slot < entries.size(); ++slot) old_scores[slot] = entries.state(first, slot);
    const auto rows = static_cast<size_t>(block.rows);
    counts += plan_lifetimes(
        acting().spec.policy.of_head(block.layer, head),
        {positions, old_scores, block.first, std::span(scores.back()).subspan(head * rows, rows)},
        run.evict_old(head), run.evict_new(head));
  }
  run.build_spans(head, entries);
}

void KvCache::attend_by_lifetimes(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  BlockRun run(block, shape, options_.type);

  const BlockScores scores = score_block(block);
  std::vector<EvictionCounts> counts(shape.kv_heads);
  parallel_tasks(shape.kv_heads, [&](int head, int) { plan(block, head, scores, run, counts[head]); });
  for (const EvictionCounts& c : counts) counts_ += c;

  const int query_blocks = (block.rows + kQueryBlock - 1) / kQueryBlock;
  std::vector<AttentionScratch> scratch(thread_count());
  parallel_tasks(shape.kv_heads * query_blocks, [&](int task, int thread) {
    // The longest rows first, so that no thread is left with one at the end.
    const int first_row = (query_blocks - 1 - task / shape.kv_heads) * kQueryBlock;
    run.attend(task % shape.kv_heads, first_row, std::min(kQueryBlock, block.rows - first_row),
               scratch[thread]);
  });
  store_survivors(block, run, scores);
}

void KvCache::store_survivors(const LayerBlock& block, BlockRun& run, const BlockScores& scores) {
  const ModelShape& shape = method_->shape;
  const int64_t end = block.first + block.rows;
  for (int head = 0; head < shape.kv_heads; ++head) {
    if (options_.record_lifetimes) record_.evict_at[index(block.layer, head)].resize(end, kNever);
    const std::vector<int32_t>&old_lives = run.evict_old(head), &new_lives = run.evict_new(head);
    for (int slot = 0; slot < static_cast<int>(old_lives.size()); ++slot) {
      if (old_lives[slot] > end) continue;
      note_eviction(block.layer, head, store(block.layer, head).position(slot), old_lives[slot]);
    }
    for (int r = 0; r < block.rows; ++r) {
      if (new_lives[r] <= end) note_eviction(block.layer, head, block.first + r, new_lives[r]);
    }
  }
  parallel_tasks(shape.kv_heads, [&](int head, int) {
    HeadStore& entries = stores_[index(block.layer, head)];
    std::vector<int32_t> gone;
    for (int slot = entries.size() - 1; slot >= 0; --slot) {
      if (run.evict_old(head)[slot] <= end) gone.push_back(slot);
    }
    entries.remove(gone);
    // A weights scorer gets here only with imposed evictions, and then carries zeros.
    std::vector<float> state;
    for (int r = 0; r < block.rows; ++r) {
      if (run.evict_new(head)[r] <= end) continue;
      start_state(scores, block, head, r, state);
      entries.append(run.key(head, r), run.value(head, r), static_cast<int32_t>(block.first + r),
                     state.data());
    }
  });
}

}  // namespace kvlab
