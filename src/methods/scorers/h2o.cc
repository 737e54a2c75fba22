// H2O.
// Idea: Heavy hitters: an entry is worth the attention it has received so far, summed over all queries and
// never decayed; half of the budget protects the newest entries.
// Paper: Zhang et al.: H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models,
// arXiv:2306.14048.
// Symbols: a_qj is the attention weight of query q on entry j, n_q the number of entries that query q saw;
// the group are the query heads that share this KV head.
// Differs: the published code assumes one KV head per query head; here the weights of the query heads that
// share a KV head are added. With a threshold the sum is given relative to uniform attention, since sums grow
// with age.
// Bytes per token: one sum per layer and KV head (two floats with a threshold).
// In kvpress: none of this name; ObservedAttentionPress divides the sum by the number of queries that saw the
// entry.
// Examples: h2o(size=512) h2o(keep=0.25) h2o(free_density=0.15)
#include "cache/scorer.h"

namespace kvlab {

namespace {

// State: [0] the sum of weights; with a threshold [1] the sum of 1 / (entries live) over the queries that saw
// the entry.
class H2o : public WeightsScorer {
 public:
  explicit H2o(const ScorerContext& context) : relative_(context.relative) {}

  int state_width() const override { return relative_ ? 2 : 1; }

  void observe(const WeightsView& view) const override {
    float* sums = view.state;
    const float scale = relative_ ? 1.0f / static_cast<float>(view.group) : 1.0f;
    for (int g = 0; g < view.group; ++g) {
      const float* weights = view.weights + g * view.stride;
      for (int slot = 0; slot < view.live; ++slot) sums[slot] += scale * weights[slot];
    }
    if (!relative_) return;
    float* uniform = view.state + view.state_stride;
    const float share = 1.0f / static_cast<float>(view.live);
    for (int slot = 0; slot < view.live; ++slot) uniform[slot] += share;
  }

  void score(const float* state, int64_t state_stride, std::span<const int32_t> positions, int64_t,
             float* out) const override {
    for (size_t slot = 0; slot < positions.size(); ++slot) {
      out[slot] = relative_ ? state[slot] / state[state_stride + slot] : state[slot];
    }
  }

 private:
  bool relative_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "h2o";
  info.title = "H2O";
  info.paper =
      "Zhang et al.: H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models, "
      "arXiv:2306.14048";
  info.summary = "keeps the entries that received most attention so far, and the most recent";
  info.formula =
      "score_j = sum over queries q >= j and query heads of the group of a_qj (threshold: / sum of 1/n_q)";
  info.kind = ScorerKind::kWeights;
  info.window = WindowRule::kHalf;
  info.attention = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<H2o>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_h2o;
const ScorerInfo kScorerInfo_h2o = describe();

}  // namespace kvlab
