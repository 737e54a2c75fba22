// Scorers say what an entry (the key and value of one token in one layer and one KV head) is worth.
// Five kinds:
//  - fixed: the score is known when the entry is written, so lifetimes follow before attention runs;
//  - weights: needs the attention weights of every query, so attention goes token by token inside the layer;
//  - periodic: scores all live entries anew whenever the budget acts, from what was seen so far;
//  - context: scores all entries of a layer once, at the end of the context;
//  - planned: evictions are decided before the session runs (cache/planned.h).
// A scorer is one file of src/methods/scorers that defines `const ScorerInfo kScorerInfo_<file name>`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fields.h"
#include "kernels/rotary_table.h"

namespace kvlab {

// The sizes of the model that a cache and its scorers need.
struct ModelShape {
  int layers = 0, hidden = 0, query_heads = 0, kv_heads = 0, head_dim = 0;
  RotaryFrequencies rotary = {};
  // Per layer: a query sees the newest so many tokens, itself included; 0: all. Empty: all, in every layer.
  std::vector<int64_t> windows = {};
  RotaryFrequencies window_rotary = {};  // of layers with a window, where they have their own

  int64_t window(int layer) const { return windows.empty() ? 0 : windows[layer]; }
  const RotaryFrequencies& rotary_of(int layer) const {
    return window(layer) > 0 && window_rotary.pairs() > 0 ? window_rotary : rotary;
  }
  // Tokens whose entries a layer can hold after n tokens.
  int64_t reach(int layer, int64_t n) const { return window(layer) > 0 ? std::min(window(layer), n) : n; }
  int group() const { return query_heads / kv_heads; }
};

// The new entries of one layer. Row r is the token at position first_position + r. k and v are as stored
// (rotated, rounded to the cache's type): k[r * row_stride + head * head_dim + i].
struct NewEntries {
  int layer = 0;
  int64_t first_position = 0;
  int rows = 0;
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t row_stride = 0;
  const float* hidden =
      nullptr;            // [rows][hidden], the layer's input after its norm; null unless wants_hidden()
  uint64_t document = 0;  // global index of the document in the data
};

class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual bool wants_hidden() const { return false; }
  // Past queries that must be remembered for periodic and context scorers, and whether the moments of all
  // unrotated queries from the sinks on are.
  static constexpr int kAllQueries = -1;
  virtual int recent_queries() const { return 0; }
  virtual bool query_moments() const { return false; }
};

class FixedScorer : public Scorer {
 public:
  // out[head * entries.rows + r]; higher is kept longer. Called once per layer and block, possibly from
  // several threads for different layers; must not depend on how tokens are cut into blocks.
  virtual void score(const NewEntries& entries, float* out) const = 0;
};

// The softmax weights of one query on the live entries of one KV head, and what the scorer carries for these
// entries. Slot s of `live` slots; a slot's place changes when others are evicted, and its state moves with
// it.
struct WeightsView {
  const float* weights = nullptr;  // weights[g * stride + slot], g < group
  int64_t stride = 0;
  int group = 1;
  int live = 0;
  float* state = nullptr;  // state[w * state_stride + slot], w < state_width()
  int64_t state_stride = 0;
  int head = 0;   // KV head within the unit that decides together
  int heads = 1;  // KV heads in the unit
};

class WeightsScorer : public Scorer {
 public:
  // Floats carried per entry across queries. A new entry's are 0 when it is first observed.
  virtual int state_width() const = 0;
  // True: all KV heads of a layer keep the same entries; observe() is called once per head with the same
  // state.
  virtual bool joint_heads() const { return false; }
  virtual void observe(const WeightsView& view) const = 0;
  // out[slot] for live slots, after n tokens have been seen; positions[slot] are the entries' positions.
  virtual void score(const float* state, int64_t state_stride, std::span<const int32_t> positions, int64_t n,
                     float* out) const = 0;
};

class QueryMemory;

// The live entries of one KV head when the budget acts after n tokens, in order of position, and its past
// queries.
struct PeriodicView {
  int layer = 0;
  int64_t n = 0;
  int64_t sinks = 0;                   // protected first tokens of the recipe
  std::span<const int32_t> positions;  // ascending
  const float* k = nullptr;            // [live][head_dim], rotated
  const float* v = nullptr;            // [live][head_dim]
  const QueryMemory* queries = nullptr;
  int head = 0;              // KV head within the layer
  int64_t window_begin = 0;  // positions from here on are protected
  // Entries that the budget lets stay, before the number is cut to whole ones; under a threshold all.
  double exact_limit = 0;
};

class PeriodicScorer : public Scorer {
 public:
  // out[i] for entry i of the view; +infinity keeps an entry while there is any other to evict.
  virtual void score(const PeriodicView& view, float* out) const = 0;
};

// Scores that come from repeating the context: parts of it are fed to a fork of the session behind a prompt,
// and an entry is worth the most attention that a repeating token pays to it (engine/reconstruction.h).
struct Reconstruction {
  int64_t chunk = 2048;     // tokens that are repeated at a time
  int64_t previous = 8;     // last tokens of the part before, which introduce a later part
  bool normalised = false;  // times ||W_O v|| over the length of the repeating token's hidden state
};

class ContextScorer : public Scorer {
 public:
  // Set: the session finds the scores and hands them to KvCache::end_context(), and score() is not called.
  virtual std::optional<Reconstruction> reconstruction() const { return std::nullopt; }
  // out[h][i] for entry i of heads[h], all KV heads of a layer; +infinity keeps an entry while there is any
  // other to evict.
  virtual void score(std::span<const PeriodicView> heads, std::span<float* const> out) const = 0;
};

enum class ScorerKind { kFixed, kWeights, kPeriodic, kContext, kPlanned };
const char* scorer_kind_name(ScorerKind kind);

// How many of the newest tokens are protected when a recipe does not say.
enum class WindowRule {
  kUsual,  // 128 with a threshold or a free density; min(128, floor(k/2)) with keep or size
  kHalf,   // 512 with a threshold or a free density; floor(k/2) with keep or size (H2O)
  kOne,    // the current token (TOVA)
  kNone,   // none: the scores already know what comes (oracle)
};

// What a scorer is made from.
struct ScorerContext {
  ModelShape shape;
  Values values;  // of the scorer's own fields
  uint64_t seed = 0;
  std::string model_path;  // of a learned scorer; "" when none was given
  bool relative = false;  // scores will be compared with a threshold: give them relative to uniform attention
};

struct ScorerInfo {
  std::string name;     // the file's name
  std::string title;    // as papers write it
  std::string paper;    // authors, title, arXiv number; or why there is none
  std::string summary;  // one line
  std::string formula;  // the score of entry j, one line
  ScorerKind kind = ScorerKind::kFixed;
  FieldList fields;
  int sinks = 0;          // protected first tokens by default while streaming
  int context_sinks = 0;  // the same under at=context
  WindowRule window = WindowRule::kUsual;
  int context_window = 0;
  std::string no_threshold;   // why a threshold is refused; "" when it is taken
  std::string no_comparison;  // why scores of different heads cannot be compared; "" when they can
  // A wrapper that stands around the scorer although no recipe writes it, as a recipe part without of=:
  // "whole_model". Null: none.
  std::function<std::string(const Values&)> implied;
  // Why budgets and shared protection are refused; "" when they are taken. What goes then follows from the
  // kind: a planned scorer says it, of a context scorer's entries those below 0 go, and a fixed scorer has
  // OwnBudgets. Fields of its own named `sinks` and `window` protect.
  std::string no_budget;
  bool attention = false;   // scores are sums or means of attention weights: not negative
  bool seeded = false;      // draws random numbers: reported over several seeds
  bool learned = false;     // needs model=
  bool non_causal = false;  // knows the future: a bound to measure methods by, not a method
  // Scores by position alone, the same for all heads: what others fall back to when their budget leaves no
  // choice.
  bool recency = false;
  bool by_document = false;           // says something of given documents, token by token
  bool size_from_protection = false;  // sinks or window written and no budget: size = sinks + window
  // Another kind of scorer under the name of `form_of`: a recipe of that name that gives the parameter
  // `form_parameter` means this one.
  std::string form_of, form_parameter;
  std::function<std::unique_ptr<Scorer>(const ScorerContext&)> create;
};

// All scorers, by file name.
const std::vector<const ScorerInfo*>& registry_scorers();

}  // namespace kvlab
