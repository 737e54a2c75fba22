// The cache of one session: every layer and KV head of a model, under one method. attend() runs a layer's
// attention for a block of new tokens exactly as if they came one by one, and keeps only what the method
// leaves.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/head_store.h"
#include "cache/lifetimes.h"
#include "cache/method.h"

namespace kvlab {

// evict_at per layer and KV head, by position: query i sees entry j iff j <= i < evict_at[j].
struct LifetimeRecord {
  int heads = 0;                               // KV heads per layer
  std::vector<std::vector<int32_t>> evict_at;  // [layer * heads + head][position]
  bool kept(int layer, int head, int64_t position, int64_t n) const {
    return evict_at[static_cast<size_t>(layer) * heads + head][position] > n;
  }
};

class LayerTap;

struct CacheOptions {
  DType type = DType::kF32;
  uint64_t document = 0;  // global index of the document, for random scores
  bool record_lifetimes = false;
  // Evicts what this record says instead of asking the method: planned methods, tests of the law.
  std::shared_ptr<const LifetimeRecord> imposed;
  std::shared_ptr<LayerTap> tap;  // sees every block before its attention; forks share it
};

// A layer's block of new tokens. Row r is at position first + r. q: [rows][query_heads * head_dim]; k, v:
// [rows][kv_heads * head_dim], keys rotated; all with their strides in floats. k and v are rounded to the
// cache's type in place.
struct LayerBlock {
  int layer = 0;
  int64_t first = 0;
  int rows = 0;
  const float* q = nullptr;
  float* k = nullptr;
  float* v = nullptr;
  int64_t q_stride = 0, kv_stride = 0;
  const float* hidden = nullptr;  // [rows][hidden] after the input norm; null unless the method wants it
  float* out = nullptr;           // [rows][query_heads * head_dim]
  int64_t out_stride = 0;
};

// Looks on while a session runs: dumps, first passes.
class LayerTap {
 public:
  virtual ~LayerTap() = default;
  virtual bool wants_hidden() const { return false; }
  // Queries and keys rotated, keys and values as the cache stores them. Called once per layer and block.
  virtual void see(const LayerBlock& block) = 0;
};

class BlockRun;
class QueryMemory;
struct RotaryTable;

class KvCache {
 public:
  // Throws UserError for a planned method without `imposed`.
  KvCache(std::shared_ptr<const Method> method, CacheOptions options);
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;
  // Shares pages with this one; each copies what it changes.
  KvCache fork() const { return KvCache(*this); }

  const Method& method() const { return *method_; }
  const CacheOptions& options() const { return options_; }

  bool wants_hidden() const {
    return method_->wants_hidden() || (options_.tap && options_.tap->wants_hidden());
  }

  // All layers must be given the same blocks, in order.
  void attend(const LayerBlock& block);
  // The end of the context: a recipe with at=context acts now, and a two-phase recipe starts to stream. Only
  // the first call counts, forks included.
  void end_context();

  int64_t tokens() const { return tokens_; }
  const HeadStore& store(int layer, int head) const { return stores_[index(layer, head)]; }
  // Past queries of a KV head; null but for periodic scorers, and before the first token. Of a two-phase
  // recipe, the streaming method's.
  const QueryMemory* queries(int layer, int head) const {
    const Stage& own = stages_.front();
    return own.memories.empty() ? nullptr : own.memories[index(layer, head)].get();
  }
  CacheBytes bytes() const;
  int64_t peak_bytes() const { return peak_bytes_; }  // stored entries and the block in work, at its highest
  int64_t live_entries() const;
  EvictionCounts evictions() const { return counts_; }
  // evicted_at()[n]: entries of all layers and heads that query n is the first not to see; size tokens() + 1
  // at most.
  const std::vector<int64_t>& evicted_at() const { return evicted_at_; }
  const LifetimeRecord& lifetimes() const { return record_; }

 private:
  struct Unit;  // KV heads that decide together, in the one-query path
  // A method that watches the session, and what it knows of past queries.
  struct Stage {
    const Method* method;
    std::vector<std::shared_ptr<QueryMemory>> memories;  // [layer][head], of periodic scorers only
  };
  // Fixed scores of a block's entries, by stage: [head * rows + row]; empty for other scorers.
  using BlockScores = std::vector<std::vector<float>>;
  KvCache(const KvCache&) = default;
  size_t index(int layer, int head) const {
    return static_cast<size_t>(layer) * method_->shape.kv_heads + head;
  }

  void add_stage(const Method& method);
  // The method whose budget is in force.
  const Method& acting() const { return *stages_.back().method; }
  // Where the floats that a stage's scorer carries per entry begin, among those of a head.
  int first_state(size_t stage, int head) const;
  BlockScores score_block(const LayerBlock& block) const;
  // What a new entry carries before any query has seen it: fixed scores, else zeros.
  void start_state(const BlockScores& scores, const LayerBlock& block, int head, int row,
                   std::vector<float>& state) const;
  // Hands queries of a KV head to the periodic scorers' memories.
  void remember_queries(const LayerBlock& block, int head, int first_row, int rows,
                        const RotaryTable& rotary);
  QueryMemory& query_memory(Stage& stage, int layer, int head);

  void attend_by_lifetimes(const LayerBlock& block);
  void plan(const LayerBlock& block, int head, const BlockScores& scores, BlockRun& run,
            EvictionCounts& counts) const;
  void store_survivors(const LayerBlock& block, BlockRun& run, const BlockScores& scores);
  void attend_by_weights(const LayerBlock& block);
  void run_unit(const LayerBlock& block, int first_head, int heads, const BlockScores& scores,
                std::vector<std::pair<int32_t, int32_t>>& gone, EvictionCounts& counts);
  Unit load_unit(int layer, int first_head, int heads) const;
  void append_to_unit(const LayerBlock& block, int first_head, int row, const BlockScores& scores,
                      Unit& unit) const;
  void observe(int first_head, int h, const float* weights, int64_t weights_stride, Unit& unit) const;
  void store_unit(int layer, int first_head, Unit& unit);
  void attend_by_periods(const LayerBlock& block);
  void run_periods(const LayerBlock& block, int head, const RotaryTable& rotary, BlockRun& run,
                   EvictionCounts& counts);
  EvictionCounts act_on_head(const LayerBlock& block, int head, int rows, BlockRun& run) const;
  void score_live(int layer, int head, int64_t n, std::span<const int32_t> positions, const float* k,
                  const float* v, float* scores) const;
  void act_at_end_of_context();
  void end_context_of_head(int layer, int head, std::vector<int32_t>& gone);
  void end_context_of_unit(int layer, int head, int heads, std::vector<int32_t>& gone);
  void leave_context_stage();
  // The entry at `position` is not seen from query n on.
  void note_eviction(int layer, int head, int64_t position, int64_t n);
  void note_block(const LayerBlock& block);
  void note_allocated();

  std::shared_ptr<const Method> method_;
  CacheOptions options_;
  std::vector<HeadStore> stores_;  // [layer][head]
  // Who watches: the method and, on top of it until the context has ended, the context's method of a
  // two-phase recipe. All observe, the last one's budget is in force. Entries carry the floats of all.
  std::vector<Stage> stages_;
  int64_t tokens_ = 0;
  bool context_ended_ = false;
  int64_t peak_bytes_ = 0;
  int64_t allocated_ = 0;
  EvictionCounts counts_;
  std::vector<int64_t> evicted_at_;
  LifetimeRecord record_;
};

}  // namespace kvlab
