// Attention for scorers that score all live entries anew whenever the budget acts. Between two actions
// lifetimes are known, so the blocked kernel runs from action to action; KV heads are independent of each
// other and run in parallel.
#include <algorithm>

#include "base/threads.h"
#include "cache/block_run.h"
#include "cache/kv_cache.h"
#include "cache/query_memory.h"
#include "kernels/rotary_table.h"

namespace kvlab {

namespace {

// One live entry: where it lies, until it is sorted.
struct Live {
  int32_t position;
  int32_t index;  // a slot of the store, or the store's size plus a row of the block
};

}  // namespace

void KvCache::score_live(int layer, int head, int64_t n, std::span<const int32_t> positions, const float* k,
                         const float* v, float* scores) const {
  PeriodicView view;
  view.layer = layer;
  view.n = n;
  view.sinks = acting().spec.policy.sinks;
  view.positions = positions;
  view.k = k;
  view.v = v;
  view.queries = stages_.back().memories[index(layer, head)].get();
  acting().periodic()->score(view, scores);
}

// The budget acts after n tokens, `rows` of them from the block: entries get their evict_at.
EvictionCounts KvCache::act_on_head(const LayerBlock& block, int head, int rows, BlockRun& run) const {
  const int64_t n = block.first + rows;
  const HeadStore& entries = store(block.layer, head);
  std::vector<Live> live;
  for (int slot = 0; slot < entries.size(); ++slot) {
    if (run.evict_old(head)[slot] == kNever) live.push_back({entries.position(slot), slot});
  }
  std::sort(live.begin(), live.end(), [](const Live& a, const Live& b) { return a.position < b.position; });
  for (int r = 0; r < rows; ++r) {
    if (run.evict_new(head)[r] == kNever)
      live.push_back({static_cast<int32_t>(block.first + r), entries.size() + r});
  }
  const Policy policy = acting().spec.policy.of_head(block.layer, head);
  const auto count = static_cast<int64_t>(live.size());
  if (policy.neutral() || (!policy.threshold() && count <= policy.limit_at(n))) return {};

  const int d = method_->shape.head_dim;
  std::vector<float> k(count * d), v(count * d), scores(count);
  std::vector<int32_t> positions(count), gone;
  for (int64_t i = 0; i < count; ++i) {
    positions[i] = live[i].position;
    const bool old = live[i].index < entries.size();
    const int row = live[i].index - entries.size();
    row_to_float(old ? entries.key(live[i].index) : run.key(head, row), options_.type, d, k.data() + i * d);
    row_to_float(old ? entries.value(live[i].index) : run.value(head, row), options_.type, d,
                 v.data() + i * d);
  }
  score_live(block.layer, head, n, positions, k.data(), v.data(), scores.data());
  const EvictionCounts counts = act_once(policy, n, positions, scores, gone);
  for (const int32_t i : gone) {
    const int32_t index = live[i].index;
    (index < entries.size() ? run.evict_old(head)[index] : run.evict_new(head)[index - entries.size()]) =
        static_cast<int32_t>(n);
  }
  return counts;
}

void KvCache::run_periods(const LayerBlock& block, int head, const RotaryTable& rotary, BlockRun& run,
                          EvictionCounts& counts) {
  const Policy& policy = acting().spec.policy;
  run.set_store(head, store(block.layer, head));
  run.build_spans(head, store(block.layer, head));
  AttentionScratch scratch;
  for (int row = 0; row < block.rows;) {
    // Up to the next action, at most a kernel's block at a time.
    int64_t end = block.rows;
    if (policy.budget && !policy.at_context)
      end = std::min<int64_t>(end, row + policy.every - (block.first + row) % policy.every);
    const int rows = static_cast<int>(std::min<int64_t>(kQueryBlock, end - row));
    run.attend(head, row, rows, scratch);
    remember_queries(block, head, row, rows, rotary);
    row += rows;
    if (policy.acts(block.first + row)) counts += act_on_head(block, head, row, run);
  }
}

void KvCache::attend_by_periods(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  BlockRun run(block, shape, options_.type);
  const BlockScores scores = score_block(block);
  const RotaryTable rotary(shape.rotary_frequencies, block.first, block.rows);
  std::vector<EvictionCounts> counts(shape.kv_heads);
  parallel_tasks(shape.kv_heads, [&](int head, int) { run_periods(block, head, rotary, run, counts[head]); });
  for (const EvictionCounts& c : counts) counts_ += c;
  store_survivors(block, run, scores);
}

}  // namespace kvlab
