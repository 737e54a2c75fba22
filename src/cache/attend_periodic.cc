// Attention for scorers that score all live entries anew whenever the budget acts. Between two actions
// lifetimes are known, so the blocked kernel runs from action to action; KV heads are independent of each
// other and run in parallel.
#include <algorithm>
#include <numeric>

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

QueryMemory& KvCache::query_memory(int layer, int head) {
  std::shared_ptr<QueryMemory>& memory = memories_[index(layer, head)];
  if (!memory) {
    const PeriodicScorer& scorer = *method_->periodic();
    memory = std::make_shared<QueryMemory>(method_->shape.group(), method_->shape.head_dim,
                                           scorer.recent_queries(), scorer.query_moments());
  } else if (memory.use_count() > 1) {  // shared with a fork
    memory = std::make_shared<QueryMemory>(*memory);
  }
  return *memory;
}

void KvCache::score_live(int layer, int head, int64_t n, std::span<const int32_t> positions, const float* k,
                         const float* v, float* scores) const {
  PeriodicView view;
  view.layer = layer;
  view.n = n;
  view.sinks = method_->spec.policy.sinks;
  view.positions = positions;
  view.k = k;
  view.v = v;
  view.queries = memories_[index(layer, head)].get();
  method_->periodic()->score(view, scores);
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
  const Policy policy = method_->spec.policy.of_head(block.layer, head);
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
  const ModelShape& shape = method_->shape;
  const Policy& policy = method_->spec.policy;
  run.set_store(head, store(block.layer, head));
  run.build_spans(head, store(block.layer, head));
  QueryMemory& memory = query_memory(block.layer, head);
  AttentionScratch scratch;
  for (int row = 0; row < block.rows;) {
    // Up to the next action, at most a kernel's block at a time.
    int64_t end = block.rows;
    if (!policy.at_context)
      end = std::min<int64_t>(end, row + policy.every - (block.first + row) % policy.every);
    const int rows = static_cast<int>(std::min<int64_t>(kQueryBlock, end - row));
    run.attend(head, row, rows, scratch);
    for (int r = row; r < row + rows; ++r) {
      memory.append(
          block.q + r * block.q_stride + static_cast<int64_t>(head) * shape.group() * shape.head_dim,
          shape.head_dim, rotary.cos_row(r), rotary.sin_row(r), rotary.pairs,
          block.first + r >= policy.sinks);
    }
    row += rows;
    if (policy.acts(block.first + row)) counts += act_on_head(block, head, row, run);
  }
}

void KvCache::attend_by_periods(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  BlockRun run(block, shape, options_.type);
  const RotaryTable rotary(shape.rotary_frequencies, block.first, block.rows);
  std::vector<EvictionCounts> counts(shape.kv_heads);
  parallel_tasks(shape.kv_heads, [&](int head, int) { run_periods(block, head, rotary, run, counts[head]); });
  for (const EvictionCounts& c : counts) counts_ += c;
  store_survivors(block, run, {});
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
  counts_ += act_once(method_->spec.policy.of_head(layer, head), tokens_, positions, scores, gone);
  for (int32_t& i : gone) i = order[i];
  std::sort(gone.begin(), gone.end(), std::greater<>());
}

}  // namespace kvlab
