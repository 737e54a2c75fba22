// Re-rotation.
// Idea: After the context is compressed its entries are numbered 0, 1, ... without gaps: each key is
// turned to its new position, and what follows goes on from there, so distances never exceed what is
// kept.
// Paper: the positions within the cache of Xiao, Tian, Chen, Han, Lewis: Efficient Streaming Language
// Models with Attention Sinks, arXiv:2309.17453.
// Symbols: p_j is the position of entry j, r_j the number of entries of its head that stay and are older,
// f the frequencies of the rotary embedding.
// Differs: as in kvpress this happens once, at the end of the context; StreamingLLM renumbers at each
// step. Under dynamic scaling each position has frequencies of its own, and a key is turned to those of
// its new position. A scale of attention that comes with the frequencies (YaRN) is left in the keys. All
// heads must keep as many entries, since one number says how far the next token is moved back.
// Bytes per token: none.
// In kvpress: KeyRerotationPress, which takes plain scorers only.
// Examples: rerotate(of=knorm,keep=0.5,at=context) rerotate(of=streaming_llm,keep=0.25,at=context)
#include "cache/wrapper.h"
#include "kernels/elementwise.h"
#include "kernels/rotary_table.h"

namespace kvlab {

namespace {

class Rerotate : public Wrapper {
 public:
  bool wants_entries() const override { return true; }
  bool revises() const override { return true; }
  bool renumbers() const override { return true; }

  void revise(ActingHeads& unit) const override {
    const RotaryFrequencies& frequencies = unit.shape->rotary_of(unit.layer);
    for (ActingHead& head : unit.heads) renumber(frequencies, unit.shape->head_dim, head);
  }

 private:
  static void renumber(const RotaryFrequencies& frequencies, int head_dim, ActingHead& head) {
    const int pairs = frequencies.pairs();
    std::vector<float> cos(static_cast<size_t>(pairs)), sin(cos.size());
    int64_t next = 0;
    for (size_t i = 0; i < head.positions.size(); ++i) {
      if (!head.stays[i]) continue;
      const int64_t position = head.positions[i], renumbered = next++;
      if (position == renumbered) continue;
      rotation_between(frequencies, position, renumbered, cos.data(), sin.data());
      rotate_half_split(head.k + static_cast<int64_t>(i) * head_dim, cos.data(), sin.data(), 2 * pairs);
      head.changed[i] = 1;
    }
  }
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "rerotate";
  info.title = "Re-rotation";
  info.paper =
      "Xiao, Tian, Chen, Han, Lewis: Efficient Streaming Language Models with Attention Sinks, "
      "arXiv:2309.17453 (positions within the cache)";
  info.summary = "gives the entries that stay the positions 0, 1, ... and turns their keys to them";
  info.formula = "key_j is turned by (r_j - p_j) f; the next token's position is the number of entries";
  info.of = "streaming_llm";
  info.no_threshold = "heads would keep different numbers of entries, and then have no position in common";
  info.context_only = "while streaming every step would turn all keys once more, and lose a little each time";
  info.create = [](const Values&) { return std::make_unique<Rerotate>(); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_rerotate;
const WrapperInfo kWrapperInfo_rerotate = describe();

}  // namespace kvlab
