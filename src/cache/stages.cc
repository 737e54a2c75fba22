// What the methods that watch a session need of every block: where their floats lie among those that an entry
// carries, fixed scores, and past queries.
#include "cache/kv_cache.h"
#include "cache/query_memory.h"
#include "kernels/rotary_table.h"

namespace kvlab {

int KvCache::first_state(size_t stage, int head) const {
  int first = 0;
  for (size_t s = 0; s < stage; ++s) first += stages_[s].method->carried_floats(head);
  return first;
}

KvCache::BlockScores KvCache::score_block(const LayerBlock& block) const {
  BlockScores scores(stages_.size());
  for (size_t s = 0; s < stages_.size(); ++s) {
    const FixedScorer* scorer = stages_[s].method->fixed();
    if (!scorer) continue;
    scores[s].resize(static_cast<size_t>(method_->shape.kv_heads) * block.rows);
    scorer->score({block.layer, block.first, block.rows, block.k, block.v, block.kv_stride, block.hidden,
                   options_.document},
                  scores[s].data());
  }
  return scores;
}

void KvCache::start_state(const BlockScores& scores, const LayerBlock& block, int head, int row,
                          std::vector<float>& state) const {
  state.assign(first_state(stages_.size(), head), 0.0f);
  for (size_t s = 0; s < scores.size(); ++s) {
    if (!scores[s].empty())
      state[first_state(s, head)] = scores[s][static_cast<size_t>(head) * block.rows + row];
  }
}

QueryMemory& KvCache::query_memory(Stage& stage, int layer, int head) {
  std::shared_ptr<QueryMemory>& memory = stage.memories[index(layer, head)];
  if (!memory) {
    const PeriodicScorer& scorer = *stage.method->periodic();
    memory = std::make_shared<QueryMemory>(method_->shape.group(), method_->shape.head_dim,
                                           scorer.recent_queries(), scorer.query_moments());
  } else if (memory.use_count() > 1) {  // shared with a fork
    memory = std::make_shared<QueryMemory>(*memory);
  }
  return *memory;
}

void KvCache::remember_queries(const LayerBlock& block, int head, int first_row, int rows,
                               const RotaryTable& rotary) {
  const int d = method_->shape.head_dim;
  const float* q = block.q + static_cast<int64_t>(head) * method_->shape.group() * d;
  for (Stage& stage : stages_) {
    if (!stage.method->periodic()) continue;
    QueryMemory& memory = query_memory(stage, block.layer, head);
    const int64_t sinks = stage.method->spec.policy.sinks;
    for (int r = first_row; r < first_row + rows; ++r) {
      memory.append(q + r * block.q_stride, d, rotary.cos_row(r), rotary.sin_row(r), rotary.pairs,
                    block.first + r >= sinks);
    }
  }
}

}  // namespace kvlab
