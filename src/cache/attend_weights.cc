// Attention for scorers that need the weights of every query: token by token inside the layer over live
// entries. The weights go to the scorer and the budget acts before the next query, so this is what decoding
// would do, without its GEMMs of one row. Units (a KV head, or all heads of a layer) are independent of each
// other and run in parallel.
#include <algorithm>

#include "base/threads.h"
#include "cache/kv_cache.h"
#include "kernels/attention.h"

namespace kvlab {

// Live entries of the heads of a unit while a block runs. Slot s is the same token in all of them.
struct KvCache::Unit {
  std::vector<SlotStore> slots;    // one per head
  std::vector<int32_t> positions;  // by slot
  std::vector<float> state;        // [width][stride]
  int64_t stride = 0;
  int width = 0;

  void reserve(int64_t size) {
    if (size <= stride) return;
    const int64_t grown = std::max<int64_t>(64, (size * 3 / 2 + 15) / 16 * 16);
    std::vector<float> larger(static_cast<size_t>(width) * grown);
    for (int w = 0; w < width; ++w)
      std::copy_n(state.data() + w * stride, positions.size(), larger.data() + w * grown);
    state = std::move(larger);
    stride = grown;
  }
  void append(int32_t position) {
    reserve(static_cast<int64_t>(positions.size()) + 1);
    for (int w = 0; w < width; ++w) state[w * stride + positions.size()] = 0;
    positions.push_back(position);
  }
  void remove(int32_t slot) {
    const size_t last = positions.size() - 1;
    for (SlotStore& store : slots) store.remove(slot);
    for (int w = 0; w < width; ++w) state[w * stride + slot] = state[w * stride + last];
    positions[slot] = positions[last];
    positions.pop_back();
  }
};

namespace {

void append_row(HeadStore& store, const float* k, const float* v, int n, int32_t position,
                const float* state) {
  if (store.type() == DType::kF32) {
    store.append(reinterpret_cast<const std::byte*>(k), reinterpret_cast<const std::byte*>(v), position,
                 state);
    return;
  }
  std::vector<BF16> row(2 * static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) row[i] = to_bf16(k[i]);
  for (int i = 0; i < n; ++i) row[n + i] = to_bf16(v[i]);
  store.append(reinterpret_cast<const std::byte*>(row.data()),
               reinterpret_cast<const std::byte*>(row.data() + n), position, state);
}

}  // namespace

void KvCache::run_unit(const LayerBlock& block, int first_head, int heads,
                       std::vector<std::pair<int32_t, int32_t>>& gone, EvictionCounts& counts) {
  const ModelShape& shape = method_->shape;
  const WeightsScorer& scorer = *method_->weights();
  const Policy policy = method_->spec.policy.of_head(block.layer, first_head);
  const int d = shape.head_dim, group = shape.group();

  Unit unit;
  unit.width = scorer.state_width();
  std::vector<float> k(d), v(d);
  for (int h = 0; h < heads; ++h) {
    const HeadStore& store = stores_[index(block.layer, first_head + h)];
    SlotStore slots(d, options_.type);
    for (int s = 0; s < store.size(); ++s) {
      row_to_float(store.key(s), options_.type, d, k.data());
      row_to_float(store.value(s), options_.type, d, v.data());
      slots.append(k.data(), v.data());
    }
    unit.slots.push_back(std::move(slots));
  }
  const HeadStore& lead = stores_[index(block.layer, first_head)];
  unit.reserve(lead.size() + 1);
  unit.positions = lead.positions();
  for (int w = 0; w < unit.width; ++w) {
    for (int s = 0; s < lead.size(); ++s) unit.state[w * unit.stride + s] = lead.state(w, s);
  }

  std::vector<float> weights, scores;
  std::vector<int32_t> leaving;
  for (int r = 0; r < block.rows; ++r) {
    unit.append(static_cast<int32_t>(block.first + r));
    const auto live = static_cast<int>(unit.positions.size());
    const int64_t stride = (live + 15) / 16 * 16;
    if (static_cast<int64_t>(weights.size()) < group * stride)
      weights.resize(static_cast<size_t>(group * stride) * 3 / 2);
    for (int h = 0; h < heads; ++h) {
      const int head = first_head + h;
      unit.slots[h].append(block.k + r * block.kv_stride + head * d,
                           block.v + r * block.kv_stride + head * d);
      const int64_t offset = static_cast<int64_t>(head) * group * d;
      unit.slots[h].attend(block.q + r * block.q_stride + offset, group, attention_scale(d), weights.data(),
                           stride, block.out + r * block.out_stride + offset);
      scorer.observe({weights.data(), stride, group, live, unit.state.data(), unit.stride, h, heads});
    }
    const int64_t n = block.first + r + 1;
    if (!policy.acts(n) || policy.neutral() || (!policy.threshold() && live <= policy.limit_at(n))) continue;
    scores.resize(live);
    scorer.score(unit.state.data(), unit.stride, unit.positions, n, scores.data());
    EvictionCounts now = act_once(policy, n, unit.positions, scores, leaving);
    counts.evictions += now.evictions * heads;
    counts.forced += now.forced * heads;
    for (const int32_t slot : leaving) {
      gone.emplace_back(unit.positions[slot], static_cast<int32_t>(n));
      unit.remove(slot);
    }
  }

  std::vector<float> state(unit.width);
  for (int h = 0; h < heads; ++h) {
    HeadStore& store = stores_[index(block.layer, first_head + h)];
    store.clear();
    for (int s = 0; s < static_cast<int>(unit.positions.size()); ++s) {
      unit.slots[h].key(s, k.data());
      unit.slots[h].value(s, v.data());
      for (int w = 0; w < unit.width; ++w) state[w] = unit.state[w * unit.stride + s];
      append_row(store, k.data(), v.data(), d, unit.positions[s], state.data());
    }
  }
}

void KvCache::attend_by_weights(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  const int heads = method_->weights()->joint_heads() ? shape.kv_heads : 1;
  const int units = shape.kv_heads / heads;
  std::vector<std::vector<std::pair<int32_t, int32_t>>> gone(units);
  std::vector<EvictionCounts> counts(units);
  parallel_tasks(units,
                 [&](int unit, int) { run_unit(block, unit * heads, heads, gone[unit], counts[unit]); });
  for (int head = 0; head < shape.kv_heads; ++head) {
    if (options_.record_lifetimes)
      record_.evict_at[index(block.layer, head)].resize(block.first + block.rows, kNever);
    for (const auto& [position, n] : gone[head / heads]) note_eviction(block.layer, head, position, n);
  }
  for (const EvictionCounts& c : counts) counts_ += c;
}

}  // namespace kvlab
