// The cache of one session: every layer and KV head of a model, under one method. attend() runs attention for
// a piece of a layer's new tokens exactly as if they came one by one, and keeps only what the method leaves.
//
// An extend is: begin(); for every layer and piece prepare(), then attend() by every chain; end(). A chain is
// a KV head, or all heads of a layer where they decide together; it takes the pieces of a layer in order.
// Chains and layers are independent of each other, and so may run at the same time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/head_store.h"
#include "cache/lifetimes.h"
#include "cache/method.h"
#include "kernels/attention.h"

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
struct ReconstructionPrompts;

// The output projections of a model, for methods that ask what an entry's value does to the hidden state.
class OutputProjections {
 public:
  virtual ~OutputProjections() = default;
  // [query_heads * head_dim][hidden] of a layer. May be called from several threads; stays valid.
  virtual std::span<const float> layer(int layer) const = 0;
};

// Scores of all entries from outside, [layer * kv_heads + head][position].
using ContextScores = std::vector<std::vector<float>>;

struct CacheOptions {
  DType type = DType::kF32;
  uint64_t document = 0;  // global index of the document, for random scores
  bool record_lifetimes = false;
  // Evicts what this record says instead of asking the method: planned methods, tests of the law.
  std::shared_ptr<const LifetimeRecord> imposed;
  std::shared_ptr<const OutputProjections> output;  // of methods that want_output(); a session provides it
  std::shared_ptr<LayerTap> tap;                    // sees every block before its attention; forks share it
  // Of methods whose scorer repeats the context (engine/reconstruction.h).
  std::shared_ptr<const ReconstructionPrompts> prompts;
};

// New tokens of one layer: all of an extend, or a piece of at most kQueryBlock. Row r is at position first +
// r. q: [rows][query_heads * head_dim]; k, v: [rows][kv_heads * head_dim], keys rotated; all with their
// strides in floats.
struct LayerBlock {
  int layer = 0;
  int64_t first = 0;
  int rows = 0;
  int piece = 0;  // number of the piece in its extend
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
  // Queries and keys rotated, keys and values as the cache stores them. Called once per layer and extend, in
  // order, with all its rows.
  virtual void see(const LayerBlock& block) = 0;
};

class QueryMemory;
struct AttendScratch;
struct HeadAction;

class KvCache {
 public:
  // Throws UserError for a planned method without `imposed`.
  KvCache(std::shared_ptr<const Method> method, CacheOptions options);
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;
  // Shares pages with this one; each copies what it changes.
  KvCache fork() const { return KvCache(*this); }
  // The same under `method`, which compresses nothing, and with another tap.
  KvCache fork_dense(std::shared_ptr<const Method> method, std::shared_ptr<LayerTap> tap) const;
  // Counts what a fork took beside this cache.
  void raise_peak(int64_t bytes) { peak_bytes_ = std::max(peak_bytes_, bytes); }

  const Method& method() const { return *method_; }
  const CacheOptions& options() const { return options_; }

  bool wants_hidden() const {
    return method_->wants_hidden() || (options_.tap && options_.tap->wants_hidden());
  }

  bool wants_whole_layers() const { return options_.tap != nullptr; }
  int chains() const { return method_->shape.kv_heads / chain_heads_; }

  // Begins an extend by `rows` tokens in so many pieces. All layers must be given the same pieces.
  void begin(int64_t rows, int pieces);
  // Rounds a piece's keys and values to the cache's type in place, and scores them. Different pieces may be
  // prepared at the same time.
  void prepare(const LayerBlock& piece);
  // With a tap: shows it a layer whose pieces are all prepared, before any is attended to.
  void see(const LayerBlock& layer) { options_.tap->see(layer); }
  void attend(const LayerBlock& piece, int chain);
  void end();
  // The end of the context: a recipe with at=context acts now, and a two-phase recipe starts to stream. Only
  // the first call counts, forks included. `scores` are for scorers that are given theirs.
  void end_context(const ContextScores* scores = nullptr);
  bool context_ended() const { return context_ended_; }

  int64_t tokens() const { return tokens_; }
  // What is taken off the next tokens' positions before they are rotated, since the entries before them were
  // given new ones.
  int64_t rotary_shift() const { return rotary_shift_; }
  const HeadStore& store(int layer, int head) const { return stores_[index(layer, head)]; }
  // Past queries of a KV head; null but for periodic and context scorers, and before the first token. Of a
  // two-phase recipe, the streaming method's.
  const QueryMemory* queries(int layer, int head) const {
    const Stage& own = stages_.front();
    return own.memories.empty() ? nullptr : own.memories[index(layer, head)].get();
  }
  CacheBytes bytes() const;
  // The sum over layers and heads of the most that each took during an extend: not less than what was
  // allocated at any time, whatever order the chains run in. Methods with fixed scores evict a piece at a
  // time, so theirs depends on how tokens are cut into extends.
  int64_t peak_bytes() const { return peak_bytes_; }
  int64_t live_entries() const;
  EvictionCounts evictions() const { return counts_; }
  // evicted_at()[n]: entries of all layers and heads that query n is the first not to see because of the
  // method, less those among them that a layer's own sliding window would hide from query n on. Sums up to
  // what a query misses. Size tokens() + 1, or more under windows.
  const std::vector<int64_t>& evicted_at() const { return evicted_at_; }
  const LifetimeRecord& lifetimes() const { return record_; }

 private:
  enum class Path { kLifetimes, kWeights, kPeriods };
  // A method that watches the session, and what it knows of past queries.
  struct Stage {
    const Method* method;
    std::vector<std::shared_ptr<QueryMemory>> memories;  // [layer][head], of scorers that want queries
  };
  // Fixed scores of a piece's entries, by stage: [head * rows + row]; empty for other scorers.
  using PieceScores = std::vector<std::vector<float>>;
  // The entry at `position` is not seen from query n on.
  struct Eviction {
    int32_t position, n;
  };
  // What an extend does to one layer and KV head, until end() adds it up.
  struct HeadChanges {
    std::vector<Eviction> evictions;
    EvictionCounts counts;
    int64_t peak_bytes = 0;
  };
  KvCache(const KvCache&) = default;
  size_t index(int layer, int head) const {
    return static_cast<size_t>(layer) * method_->shape.kv_heads + head;
  }
  HeadStore& entries(int layer, int head) { return stores_[index(layer, head)]; }

  void count_missing(const Eviction& gone, int64_t window);
  void add_stage(const Method& method);
  void choose_path();
  // The method whose budget is in force.
  const Method& acting() const { return *stages_.back().method; }
  // Where the floats that a stage's scorer carries per entry begin, among those of a head.
  int first_state(size_t stage, int head) const;
  // Adds rows of a piece to a head's entries, with their fixed scores.
  void append_rows(const LayerBlock& piece, int head, int first_row, int rows);
  // Hands queries of a KV head to the periodic scorers' memories.
  void remember_queries(const LayerBlock& piece, int head, int first_row, int rows);
  QueryMemory& query_memory(Stage& stage, int layer, int head);
  // Takes what a head has allocated now into account for the peak.
  void note_bytes(int layer, int head) {
    int64_t& peak = changes_[index(layer, head)].peak_bytes;
    peak = std::max(peak, stores_[index(layer, head)].allocated());
  }
  // Removes slots, given in descending order; what that allocates counts.
  void remove(int layer, int head, std::span<const int32_t> slots);
  // Removes slots, given in descending order, that are not seen from query n on.
  void evict(int layer, int head, std::span<const int32_t> slots, int64_t n);

  void attend_by_lifetimes(const LayerBlock& piece, int head, AttendScratch& scratch);
  // Lifetimes of a head's entries, the piece's included; false when all stay.
  bool plan(const LayerBlock& piece, int head, AttendScratch& scratch);
  // The same for what the method evicts, whatever the layer's own window.
  bool plan_evictions(const LayerBlock& piece, int head, AttendScratch& scratch);
  // Lifetimes under the layer's own window alone, for queries before `end`; false when it lets all stay.
  bool limit_to_window(int layer, int head, int64_t end, AttendScratch& scratch);
  // Removes entries that query `end` does not see, by the lifetimes in `scratch`.
  void remove_dead(int layer, int head, int64_t end, AttendScratch& scratch);
  // Removes the entry that leaves the layer's own window with the n-th token.
  void expire(int layer, int head, int64_t n);
  void attend_by_weights(const LayerBlock& piece, int chain, AttendScratch& scratch);
  void attend_row(const LayerBlock& piece, int first_head, int row, AttendScratch& scratch);
  void observe(const LayerBlock& piece, int first_head, int h, const float* weights, int64_t stride);
  void act_on_chain(const LayerBlock& piece, int first_head, int64_t n, const Policy& policy,
                    AttendScratch& scratch);
  void attend_by_periods(const LayerBlock& piece, int chain, AttendScratch& scratch);
  // An action of methods with wrappers, or with a scorer that sees a whole layer, on heads that act together.
  void act_together(int layer, int first_head, int heads, int64_t n, AttendScratch& scratch);
  // The same on all heads of all layers, where the budget is shared out over the model.
  void act_on_model(int64_t n);
  void collect(int layer, int head, int64_t n, bool entries, HeadAction& action) const;
  void score(int layer, int first_head, int64_t n, std::span<HeadAction> actions);
  void score_anew(int layer, int first_head, int64_t n, std::span<HeadAction> actions) const;
  void adjust(int layer, int first_head, int64_t n, size_t first, size_t last, std::span<HeadAction> actions);
  void choose(int layer, int first_head, int64_t n, std::span<HeadAction> actions,
              std::vector<int32_t>& gone);
  void revise(int layer, int first_head, int64_t n, std::span<HeadAction> actions);
  void act_on_head(int layer, int head, int64_t n, AttendScratch& scratch);
  // Scores the entries in order of position; `order` receives their slots.
  void score_in_order(int layer, int head, int64_t n, AttendScratch& scratch) const;
  void act_at_end_of_context();
  void end_context_of_chain(int layer, int head, AttendScratch& scratch);
  void leave_context_stage();

  std::shared_ptr<const Method> method_;
  CacheOptions options_;
  std::vector<HeadStore> stores_;  // [layer][head]
  // Who watches: the method and, on top of it until the context has ended, the context's method of a
  // two-phase recipe. All observe, the last one's budget is in force. Entries carry the floats of all.
  std::vector<Stage> stages_;
  Path path_ = Path::kLifetimes;
  int chain_heads_ = 1;  // KV heads of a chain
  int64_t tokens_ = 0;
  int64_t rotary_shift_ = 0;
  const ContextScores* given_ = nullptr;  // while end_context() acts
  bool context_ended_ = false;
  int64_t peak_bytes_ = 0;
  // Of the extend in work.
  int64_t first_ = 0;
  std::vector<PieceScores> piece_scores_;
  std::vector<HeadChanges> changes_;  // [layer][head]
  // Of the extend in work, for periodic scorers: layers without and with rotary positions of their own.
  std::shared_ptr<const RotaryTable> rotary_, window_rotary_;
  EvictionCounts counts_;
  std::vector<int64_t> evicted_at_;
  LifetimeRecord record_;
};

}  // namespace kvlab
