// TOVA.
// Idea: Token omission via attention: the entry with the least attention of the current query goes; all KV
// heads of a layer keep the same tokens. The current token is never evicted.
// Paper: Oren, Hassid, Yarden, Adi, Schwartz: Transformers are Multi-State RNNs, arXiv:2401.06104.
// Symbols: a_ij is the attention weight of the current query i on entry j.
// Differs: the paper's budget is a size; here it may also be a fraction of the tokens seen so far.
// Bytes per token: one score per layer and KV head (the last query's weight), kept so that an action can
// follow a split.
// In kvpress: TOVAPress, which acts once, with the last query of the prompt.
// Examples: tova(keep=0.25) tova(size=512) tova(keep=0.5,sinks=4,window=64)
#include <algorithm>

#include "cache/scorer.h"
#include "kernels/entry_scores.h"

namespace kvlab {

namespace {

class Tova : public WeightsScorer {
 public:
  int state_width() const override { return 1; }
  bool joint_heads() const override { return true; }

  void observe(const WeightsView& view) const override {
    if (view.head == 0) std::fill_n(view.state, view.live, 0.0f);
    add_weights(view.weights, view.stride, view.group, view.live,
                1.0f / static_cast<float>(view.group * view.heads), view.state);
  }

  void score(const float* state, int64_t, std::span<const int32_t> positions, int64_t,
             float* out) const override {
    for (size_t slot = 0; slot < positions.size(); ++slot) out[slot] = state[slot];
  }
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "tova";
  info.title = "TOVA";
  info.paper = "Oren, Hassid, Yarden, Adi, Schwartz: Transformers are Multi-State RNNs, arXiv:2401.06104";
  info.summary = "evicts the entry the current query attends to least, the same for all heads of a layer";
  info.formula = "score_j = mean over all query heads of a_ij, i the current query";
  info.kind = ScorerKind::kWeights;
  info.window = WindowRule::kOne;
  info.context_window = 1;
  info.no_threshold = "one query's weights have no fixed scale";
  info.attention = true;
  info.create = [](const ScorerContext&) { return std::make_unique<Tova>(); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_tova;
const ScorerInfo kScorerInfo_tova = describe();

}  // namespace kvlab
