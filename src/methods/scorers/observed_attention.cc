// ObservedAttention.
// Idea: An entry is worth the mean attention it has received from the queries that could see it. Unlike H2O's
// sum this does not favour old entries, and it protects nothing by itself.
// Paper: none of its own; NVIDIA/kvpress (ObservedAttentionPress), a mean form of H2O, arXiv:2306.14048.
// Symbols: a_qj is the attention weight of query q on entry j, n_q the number of entries that query q saw;
// the group are the query heads that share this KV head.
// Differs: acts while streaming; a query that came after an entry's birth counts whether or not others were
// evicted. With a threshold, weights are relative to uniform attention: the mean over queries q of a_qj n_q.
// Bytes per token: one sum per layer and KV head.
// In kvpress: ObservedAttentionPress, which acts once, at the end of the prompt, and needs the whole
// attention matrix.
// Examples: observed_attention(keep=0.25) observed_attention(free_density=0.15)
// observed_attention(threshold=0.5)
#include "cache/scorer.h"

namespace kvlab {

namespace {

class ObservedAttention : public WeightsScorer {
 public:
  explicit ObservedAttention(const ScorerContext& context) : relative_(context.relative) {}

  int state_width() const override { return 1; }

  void observe(const WeightsView& view) const override {
    const float scale = (relative_ ? static_cast<float>(view.live) : 1.0f) / static_cast<float>(view.group);
    for (int g = 0; g < view.group; ++g) {
      const float* weights = view.weights + g * view.stride;
      for (int slot = 0; slot < view.live; ++slot) view.state[slot] += scale * weights[slot];
    }
  }

  void score(const float* state, int64_t, std::span<const int32_t> positions, int64_t n,
             float* out) const override {
    for (size_t slot = 0; slot < positions.size(); ++slot) {
      out[slot] = state[slot] / static_cast<float>(n - positions[slot]);
    }
  }

 private:
  bool relative_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "observed_attention";
  info.title = "ObservedAttention";
  info.paper = "NVIDIA/kvpress, after Zhang et al., arXiv:2306.14048";
  info.summary = "keeps the entries with the highest mean attention so far";
  info.formula =
      "score_j = mean over queries q >= j and query heads of the group of a_qj (threshold: of a_qj n_q)";
  info.kind = ScorerKind::kWeights;
  info.attention = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<ObservedAttention>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_observed_attention;
const ScorerInfo kScorerInfo_observed_attention = describe();

}  // namespace kvlab
