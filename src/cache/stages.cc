// What the methods that watch a session need of every piece: where their floats lie among those that an entry
// carries, fixed scores, and past queries.
#include <algorithm>

#include "cache/kv_cache.h"
#include "cache/query_memory.h"
#include "kernels/rotary_table.h"

namespace kvlab {

int KvCache::first_state(size_t stage, int head) const {
  int first = 0;
  for (size_t s = 0; s < stage; ++s) first += stages_[s].method->carried_floats(head);
  return first;
}

void KvCache::append_rows(const LayerBlock& piece, int head, int first_row, int rows) {
  HeadStore& store = entries(piece.layer, head);
  const int old_size = store.size(), d = method_->shape.head_dim;
  const int64_t offset = first_row * piece.kv_stride + int64_t{1} * head * d;
  store.append(piece.k + offset, piece.v + offset, piece.kv_stride, rows, piece.first + first_row);
  const PieceScores& scores = piece_scores_[piece.piece];
  for (size_t s = 0; s < scores.size(); ++s) {
    if (scores[s].empty()) continue;
    std::copy_n(scores[s].data() + static_cast<size_t>(head) * piece.rows + first_row, rows,
                store.state_row(first_state(s, head)) + old_size);
  }
  note_bytes(piece.layer, head);
}

QueryMemory& KvCache::query_memory(Stage& stage, int layer, int head) {
  std::shared_ptr<QueryMemory>& memory = stage.memories[index(layer, head)];
  if (!memory) {
    const Scorer& scorer = *stage.method->scorer;
    memory = std::make_shared<QueryMemory>(method_->shape.group(), method_->shape.head_dim,
                                           scorer.recent_queries(), scorer.query_moments());
  } else if (memory.use_count() > 1) {  // shared with a fork
    memory = std::make_shared<QueryMemory>(*memory);
  }
  return *memory;
}

void KvCache::remember_queries(const LayerBlock& piece, int head, int first_row, int rows) {
  if (!rotary_) return;  // no stage wants queries
  const int d = method_->shape.head_dim;
  const float* q = piece.q + static_cast<int64_t>(head) * method_->shape.group() * d;
  const RotaryTable& rotary = *(method_->shape.window(piece.layer) > 0 ? window_rotary_ : rotary_);
  const int shift = static_cast<int>(piece.first - first_);
  for (Stage& stage : stages_) {
    if (!stage.method->wants_queries() || (context_ended_ && stage.method->spec.policy.at_context)) continue;
    QueryMemory& memory = query_memory(stage, piece.layer, head);
    const int64_t sinks = stage.method->spec.policy.sinks;
    memory.append_rows({q + first_row * piece.q_stride, piece.q_stride, d, rotary.cos_row(shift + first_row),
                        rotary.sin_row(shift + first_row), rotary.pairs, rows},
                       sinks - piece.first - first_row);
  }
}

}  // namespace kvlab
