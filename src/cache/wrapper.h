// Wrappers stand around a scorer (`of=`) and change what happens when the budget acts: what entries are
// worth, how the budget is shared out over heads and layers, or what becomes of the entries that stay. They
// nest: the innermost acts first. A wrapper is one file of src/methods/wrappers that defines
// `const WrapperInfo kWrapperInfo_<file name>`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fields.h"
#include "cache/scorer.h"

namespace kvlab {

// The live entries of one KV head when the budget acts.
struct ActingHead {
  int head = 0;
  int64_t sinks = 0, window_begin = 0;  // positions below sinks and from window_begin on are protected
  std::span<const int32_t> positions;   // ascending
  std::span<float> scores;              // +infinity: stays while any other can go
  int64_t limit = 0;                    // entries that may stay; adjust() may share it out anew
  double exact_limit = 0;               // the limit before it was cut to whole entries
  float* k = nullptr;                   // [live][head_dim], rotated; null unless the wrapper wants entries
  float* v = nullptr;                   // [live][head_dim]
  std::span<const float> given_scores;  // as the scorer gave them, before any wrapper
  // For revise(): whether an entry stays, and whether revise() has changed its key or value.
  std::span<const uint8_t> stays;
  std::span<uint8_t> changed;

  bool is_protected(size_t i) const { return positions[i] < sinks || positions[i] >= window_begin; }
};

// Heads that decide together: one, all of a layer, or all of the model.
struct ActingHeads {
  const ModelShape* shape = nullptr;
  int layer = 0;  // -1: all layers, heads in their order
  int64_t n = 0;  // tokens seen
  std::span<ActingHead> heads;
  uint64_t document = 0;  // global index of the document, for random draws
  // The output projection of the layer, where the wrapper wants it: [query_heads * head_dim][hidden], row
  // q * head_dim + i what element i of query head q adds to the hidden state.
  std::span<const float> output;
};

// How a limit is shared out over the layers.
struct LayerShare {
  double uniform = 0;  // what every layer would get, before it is cut to whole entries
  int64_t n = 0;       // tokens that the layer can hold now
  int layer = 0, layers = 1;
  int64_t queries = 0;  // of the scorer's observation window
};

class Wrapper {
 public:
  virtual ~Wrapper() = default;
  // Whether the heads of a layer, or of all layers, must be seen together.
  virtual bool joint() const { return false; }
  virtual bool whole_model() const { return false; }
  virtual bool wants_entries() const { return false; }
  virtual bool wants_output() const { return false; }
  // Periodic and context scorers are shown the tokens in chunks of so many, each alone; 0: all together.
  virtual int64_t scored_apart() const { return 0; }
  // Before the choice: changes scores and limits. Of a wrapper over the whole model there are no entries.
  virtual void adjust(ActingHeads&) const {}
  // Whether revise() does anything: after the choice it changes keys and values of entries that stay.
  virtual bool revises() const { return false; }
  virtual void revise(ActingHeads&) const {}
  // Whether revise() gives the entries that stay the positions 0, 1, ...; later tokens then follow on these.
  virtual bool renumbers() const { return false; }
  // Whether each layer has a limit of its own, and that limit.
  virtual bool spreads() const { return false; }
  virtual int64_t layer_limit(const LayerShare& share) const {
    return static_cast<int64_t>(share.uniform + 1e-6);
  }
};

struct WrapperInfo {
  std::string name;   // the file's name
  std::string title;  // as papers write it
  std::string paper;
  std::string summary;
  std::string formula;        // what it does, one line
  std::string of = "snapkv";  // what it stands around when a recipe does not say
  FieldList fields;
  std::string no_threshold;  // why a threshold is refused; "" when it is taken
  std::string context_only;  // why it acts at the end of a context only; "" when it streams as well
  bool uneven = false;       // heads of a layer may keep different entries although the scorer keeps the same
  bool compares_heads = false;  // compares scores of different heads
  bool of_attention = false;    // takes scores for attention weights, so it stands around such scorers only
  bool counts = true;           // leaves as many entries in one head and layer as in another
  bool rounds = false;          // leaves fewer entries in all than the budget says
  std::function<std::unique_ptr<Wrapper>(const Values&)> create;
};

const std::vector<const WrapperInfo*>& registry_wrappers();

}  // namespace kvlab
