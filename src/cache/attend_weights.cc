// Attention for scorers that need the weights of every query: token by token inside the layer over live
// entries. The weights go to the scorer and the budget acts before the next query, so this is what decoding
// would do, without its GEMMs of one row. Units (a KV head, or all heads of a layer) are independent of each
// other and run in parallel.
#include <algorithm>

#include "base/threads.h"
#include "cache/kv_cache.h"
#include "kernels/attention.h"
#include "kernels/rotary_table.h"

namespace kvlab {

// Live entries of the heads of a unit while a block runs. Slot s is the same token in all of them.
struct KvCache::Unit {
  struct Head {
    SlotStore slots;
    int width;                 // floats carried per entry
    std::vector<float> state;  // [width][stride]
  };
  std::vector<Head> heads;
  std::vector<int32_t> positions;  // by slot
  int64_t stride = 0;

  int live() const { return static_cast<int>(positions.size()); }
  float* state(int head, int w) { return heads[head].state.data() + w * stride; }
  void reserve(int64_t size) {
    if (size <= stride) return;
    const int64_t grown = std::max<int64_t>(64, (size * 3 / 2 + 15) / 16 * 16);
    for (Head& head : heads) {
      std::vector<float> larger(static_cast<size_t>(head.width) * grown);
      for (int w = 0; w < head.width; ++w)
        std::copy_n(head.state.data() + w * stride, positions.size(), larger.data() + w * grown);
      head.state = std::move(larger);
    }
    stride = grown;
  }
  void remove(int32_t slot) {
    const size_t last = positions.size() - 1;
    for (Head& head : heads) {
      head.slots.remove(slot);
      for (int w = 0; w < head.width; ++w)
        head.state[w * stride + slot] = head.state[w * stride + static_cast<int64_t>(last)];
    }
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

KvCache::Unit KvCache::load_unit(int layer, int first_head, int heads) const {
  const int d = method_->shape.head_dim;
  Unit unit;
  std::vector<float> k(d), v(d);
  for (int h = 0; h < heads; ++h) {
    const HeadStore& entries = store(layer, first_head + h);
    unit.heads.push_back({SlotStore(d, options_.type), entries.state_width(), {}});
    for (int s = 0; s < entries.size(); ++s) {
      row_to_float(entries.key(s), options_.type, d, k.data());
      row_to_float(entries.value(s), options_.type, d, v.data());
      unit.heads[h].slots.append(k.data(), v.data());
    }
  }
  unit.reserve(store(layer, first_head).size() + 1);
  unit.positions = store(layer, first_head).positions();
  for (int h = 0; h < heads; ++h) {
    const HeadStore& entries = store(layer, first_head + h);
    for (int w = 0; w < entries.state_width(); ++w) {
      for (int s = 0; s < entries.size(); ++s) unit.state(h, w)[s] = entries.state(w, s);
    }
  }
  return unit;
}

void KvCache::store_unit(int layer, int first_head, Unit& unit) {
  const int d = method_->shape.head_dim;
  std::vector<float> k(d), v(d), state;
  for (size_t h = 0; h < unit.heads.size(); ++h) {
    const Unit::Head& head = unit.heads[h];
    HeadStore& entries = stores_[index(layer, first_head + static_cast<int>(h))];
    entries.clear();
    state.resize(head.width);
    for (int s = 0; s < unit.live(); ++s) {
      head.slots.key(s, k.data());
      head.slots.value(s, v.data());
      for (int w = 0; w < head.width; ++w) state[w] = head.state[w * unit.stride + s];
      append_row(entries, k.data(), v.data(), d, unit.positions[s], state.data());
    }
  }
}

void KvCache::append_to_unit(const LayerBlock& block, int first_head, int row, const BlockScores& scores,
                             Unit& unit) const {
  const int d = method_->shape.head_dim, slot = unit.live();
  unit.reserve(slot + 1);
  unit.positions.push_back(static_cast<int32_t>(block.first + row));
  std::vector<float> state;
  for (int h = 0; h < static_cast<int>(unit.heads.size()); ++h) {
    const int64_t offset = row * block.kv_stride + static_cast<int64_t>(first_head + h) * d;
    unit.heads[h].slots.append(block.k + offset, block.v + offset);
    start_state(scores, block, first_head + h, row, state);
    for (int w = 0; w < unit.heads[h].width; ++w) unit.state(h, w)[slot] = state[w];
  }
}

// Shows one query's weights on head h of the unit to all weights scorers.
void KvCache::observe(int first_head, int h, const float* weights, int64_t weights_stride, Unit& unit) const {
  const auto heads = static_cast<int>(unit.heads.size());
  for (size_t s = 0; s < stages_.size(); ++s) {
    const WeightsScorer* scorer = stages_[s].method->weights();
    if (!scorer) continue;
    const bool joint = scorer->joint_heads();
    const int lead = joint ? 0 : h;  // whose state it is
    scorer->observe({weights, weights_stride, method_->shape.group(), unit.live(),
                     unit.state(lead, first_state(s, first_head + lead)), unit.stride, joint ? h : 0,
                     joint ? heads : 1});
  }
}

void KvCache::run_unit(const LayerBlock& block, int first_head, int heads, const BlockScores& scores,
                       std::vector<std::pair<int32_t, int32_t>>& gone, EvictionCounts& counts) {
  const int d = method_->shape.head_dim, group = method_->shape.group();
  const Policy policy = acting().spec.policy.of_head(block.layer, first_head);
  Unit unit = load_unit(block.layer, first_head, heads);
  std::vector<float> weights, worth;
  std::vector<int32_t> leaving;
  for (int r = 0; r < block.rows; ++r) {
    append_to_unit(block, first_head, r, scores, unit);
    const int live = unit.live();
    const int64_t stride = (live + 15) / 16 * 16;
    if (static_cast<int64_t>(weights.size()) < group * stride)
      weights.resize(static_cast<size_t>(group * stride) * 3 / 2);
    for (int h = 0; h < heads; ++h) {
      const int64_t offset = static_cast<int64_t>(first_head + h) * group * d;
      unit.heads[h].slots.attend(block.q + r * block.q_stride + offset, group, attention_scale(d),
                                 weights.data(), stride, block.out + r * block.out_stride + offset);
      observe(first_head, h, weights.data(), stride, unit);
    }
    const int64_t n = block.first + r + 1;
    if (!policy.acts(n) || policy.neutral() || (!policy.threshold() && live <= policy.limit_at(n))) continue;
    worth.resize(live);
    acting().weights()->score(unit.state(0, 0), unit.stride, unit.positions, n, worth.data());
    const EvictionCounts now = act_once(policy, n, unit.positions, worth, leaving);
    counts += {now.evictions * heads, now.forced * heads};
    for (const int32_t slot : leaving) {
      gone.emplace_back(unit.positions[slot], static_cast<int32_t>(n));
      unit.remove(slot);
    }
  }
  store_unit(block.layer, first_head, unit);
}

void KvCache::attend_by_weights(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  const bool joint = std::any_of(stages_.begin(), stages_.end(), [](const Stage& stage) {
    return stage.method->weights() && stage.method->weights()->joint_heads();
  });
  const bool periodic = std::any_of(stages_.begin(), stages_.end(),
                                    [](const Stage& stage) { return stage.method->periodic(); });
  const int heads = joint ? shape.kv_heads : 1;
  const int units = shape.kv_heads / heads;
  const BlockScores scores = score_block(block);
  std::vector<std::vector<std::pair<int32_t, int32_t>>> gone(units);
  std::vector<EvictionCounts> counts(units);
  parallel_tasks(
      units, [&](int unit, int) { run_unit(block, unit * heads, heads, scores, gone[unit], counts[unit]); });
  if (periodic) {
    const RotaryTable rotary(shape.rotary_frequencies, block.first, block.rows);
    parallel_tasks(shape.kv_heads,
                   [&](int head, int) { remember_queries(block, head, 0, block.rows, rotary); });
  }
  for (int head = 0; head < shape.kv_heads; ++head) {
    if (options_.record_lifetimes)
      record_.evict_at[index(block.layer, head)].resize(block.first + block.rows, kNever);
    for (const auto& [position, n] : gone[head / heads]) note_eviction(block.layer, head, position, n);
  }
  for (const EvictionCounts& c : counts) counts_ += c;
}

}  // namespace kvlab
