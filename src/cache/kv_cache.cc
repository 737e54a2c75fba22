#include "cache/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "cache/attend_scratch.h"
#include "cache/query_memory.h"
#include "kernels/elementwise.h"
#include "kernels/rotary_table.h"

namespace kvlab {

AttendScratch& attend_scratch() {
  thread_local AttendScratch scratch;
  return scratch;
}

KvCache::KvCache(std::shared_ptr<const Method> method, CacheOptions options)
    : method_(std::move(method)), options_(std::move(options)) {
  if (method_->planned() && !options_.imposed) {
    throw UserError(
        method_->spec.display +
        " decides before it runs what goes, so it needs the whole text beforehand: only compare, score "
        "and ppl can run it");
  }
  if (method_->spec.codec) options_.type = method_->spec.codec->type;
  if (method_->wants_output() && !options_.output && !options_.imposed)
    throw UserError(method_->spec.display + " needs the model's output projections, which this run has not");
  const ModelShape& shape = method_->shape;
  add_stage(*method_);
  if (method_->context) add_stage(*method_->context);
  choose_path();
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head)
      stores_.emplace_back(shape.head_dim, options_.type, first_state(stages_.size(), head));
  }
  changes_.resize(stores_.size());
  record_.heads = shape.kv_heads;
  if (options_.record_lifetimes) record_.evict_at.resize(stores_.size());
}

KvCache KvCache::fork_dense(std::shared_ptr<const Method> method, std::shared_ptr<LayerTap> tap) const {
  KVLAB_CHECK(method->spec.dense());
  KvCache fork(*this);
  fork.method_ = std::move(method);
  fork.options_.tap = std::move(tap);
  fork.options_.imposed = nullptr;
  fork.options_.record_lifetimes = false;
  fork.record_ = {};
  fork.stages_.clear();
  fork.add_stage(*fork.method_);
  for (HeadStore& store : fork.stores_) store.narrow_state(0);
  fork.choose_path();
  return fork;
}

void KvCache::add_stage(const Method& method) {
  const ModelShape& shape = method.shape;
  stages_.push_back({&method, {}});
  if (method.wants_queries())
    stages_.back().memories.resize(static_cast<size_t>(shape.layers) * shape.kv_heads);
}

// Which of the three ways of attending runs follows from what must be observed, and from what must happen
// between two actions: more than lifetimes can say, where wrappers take part.
void KvCache::choose_path() {
  path_ = Path::kLifetimes;
  chain_heads_ = 1;
  if (options_.imposed) return;
  for (const Stage& stage : stages_) {
    if (stage.method->weights()) {
      path_ = Path::kWeights;
      if (stage.method->weights()->joint_heads()) chain_heads_ = method_->shape.kv_heads;
    } else if (stage.method->wants_queries() && path_ == Path::kLifetimes) {
      path_ = Path::kPeriods;
    }
  }
  if (!acting().scorer || acting().spec.policy.at_context || acting().acts_plainly()) return;
  if (path_ == Path::kLifetimes) path_ = Path::kPeriods;
  if (acting().acts_jointly()) chain_heads_ = method_->shape.kv_heads;
}

void KvCache::begin(int64_t rows, int pieces) {
  const ModelShape& shape = method_->shape;
  first_ = tokens_;
  tokens_ += rows;
  piece_scores_.assign(pieces, PieceScores(stages_.size()));
  for (size_t i = 0; i < changes_.size(); ++i) changes_[i].peak_bytes = stores_[i].allocated();
  const bool periodic = std::any_of(stages_.begin(), stages_.end(),
                                    [](const Stage& stage) { return stage.method->wants_queries(); });
  if (periodic) {
    const auto table = [&](const RotaryFrequencies& frequencies) {
      return std::make_shared<const RotaryTable>(frequencies, first_ - rotary_shift_, static_cast<int>(rows));
    };
    rotary_ = table(shape.rotary);
    window_rotary_ = shape.window_rotary.pairs() > 0 ? table(shape.window_rotary) : rotary_;
  }
}

void KvCache::prepare(const LayerBlock& piece) {
  const int row_size = method_->shape.kv_heads * method_->shape.head_dim;
  if (options_.type == DType::kBF16) {
    for (int r = 0; r < piece.rows; ++r) {
      round_to_bf16(piece.k + r * piece.kv_stride, row_size);
      round_to_bf16(piece.v + r * piece.kv_stride, row_size);
    }
  }
  PieceScores& scores = piece_scores_[piece.piece];
  for (size_t s = 0; s < stages_.size(); ++s) {
    const FixedScorer* scorer = stages_[s].method->fixed();
    if (!scorer) continue;
    scores[s].resize(static_cast<size_t>(method_->shape.kv_heads) * piece.rows);
    scorer->score({piece.layer, piece.first, piece.rows, piece.k, piece.v, piece.kv_stride, piece.hidden,
                   options_.document},
                  scores[s].data());
  }
}

void KvCache::attend(const LayerBlock& piece, int chain) {
  KVLAB_CHECK(piece.rows <= kQueryBlock);
  AttendScratch& scratch = attend_scratch();
  switch (path_) {
    case Path::kWeights:
      return attend_by_weights(piece, chain, scratch);
    case Path::kPeriods:
      return attend_by_periods(piece, chain, scratch);
    case Path::kLifetimes:
      return attend_by_lifetimes(piece, chain, scratch);
  }
}

void KvCache::remove(int layer, int head, std::span<const int32_t> slots) {
  if (slots.empty()) return;
  entries(layer, head).stored_positions();
  note_bytes(layer, head);
  entries(layer, head).remove(slots);
}

void KvCache::evict(int layer, int head, std::span<const int32_t> slots, int64_t n) {
  for (const int32_t slot : slots) {
    changes_[index(layer, head)].evictions.push_back(
        {entries(layer, head).position(slot), static_cast<int32_t>(n)});
  }
  remove(layer, head, slots);
}

void KvCache::end() {
  evicted_at_.resize(std::max<size_t>(evicted_at_.size(), tokens_ + 1));
  int64_t peak = 0;
  for (size_t i = 0; i < changes_.size(); ++i) {
    HeadChanges& changes = changes_[i];
    if (options_.record_lifetimes) record_.evict_at[i].resize(tokens_, kNever);
    const int64_t window = method_->shape.window(static_cast<int>(i / method_->shape.kv_heads));
    for (const Eviction& gone : changes.evictions) {
      if (options_.record_lifetimes) record_.evict_at[i][gone.position] = gone.n;
      count_missing(gone, window);
    }
    counts_ += changes.counts;
    stores_[i].trim();
    peak += std::max(changes.peak_bytes, stores_[i].allocated());
    changes.evictions.clear();
    changes.counts = {};
  }
  for (const Stage& stage : stages_) {
    for (const auto& memory : stage.memories) peak += memory ? memory->bytes() : 0;
  }
  peak_bytes_ = std::max(peak_bytes_, peak);
}

// What leaves a layer's own window is nobody's eviction, and what was evicted is missed no longer than that.
void KvCache::count_missing(const Eviction& gone, int64_t window) {
  const int64_t hidden_at = gone.position + window;
  if (window > 0 && gone.n >= hidden_at) return;
  ++evicted_at_[gone.n];
  // With imposed evictions nobody decides, so nobody else counts.
  if (options_.imposed) ++counts_.evictions;
  if (window == 0) return;
  evicted_at_.resize(std::max<size_t>(evicted_at_.size(), hidden_at + 1));
  --evicted_at_[hidden_at];
}

CacheBytes KvCache::bytes() const {
  CacheBytes total;
  for (const HeadStore& store : stores_) total += store.bytes();
  for (const Stage& stage : stages_) {
    for (const auto& memory : stage.memories) total.scores += memory ? memory->bytes() : 0;
  }
  return total;
}

int64_t KvCache::live_entries() const {
  int64_t total = 0;
  for (const HeadStore& store : stores_) total += store.size();
  return total;
}

}  // namespace kvlab
