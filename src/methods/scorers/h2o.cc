// H2O.
// Idea: Heavy hitters: an entry is worth the attention it has received so far, summed over all queries and
// never decayed; half of the budget protects the newest entries.
// Paper: Zhang et al.: H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language
// Models, arXiv:2306.14048.
// Symbols: a_qj is the attention weight of query q on entry j, n_q the number of entries that query q saw;
// the group are the query heads that share this KV head.
// Differs: the published code assumes one KV head per query head; here the weights of the query heads that
// share a KV head are added. With a threshold the sum is given relative to uniform attention, since sums
// grow with age. Sums favour old entries, which two variants mend: accumulate=mean divides by the number
// of queries that saw the entry, which is observed_attention's rule (with H2O's protection);
// accumulate=decay,decay=D multiplies what was summed by D before each query.
// Bytes per token: one sum per layer and KV head (two floats with a threshold, but for mean).
// In kvpress: none of this name; ObservedAttentionPress divides the sum by the number of queries that saw
// the entry (accumulate=mean).
// Examples: h2o(size=512) h2o(keep=0.25) h2o(free_density=0.15) h2o(size=512,accumulate=decay,decay=0.99)
#include "base/error.h"
#include "cache/scorer.h"

namespace kvlab {

namespace {

enum class Accumulate { kSum, kMean, kDecay };

Accumulate accumulate_of(const Values& values) {
  const std::string& name = values.text("accumulate");
  const bool decays = name == "decay";
  if (decays && !values.given("decay"))
    throw UserError("h2o: accumulate=decay needs decay=, the factor per query, such as 0.99");
  if (!decays && values.given("decay"))
    throw UserError("h2o: decay=" + to_text(values.all().at("decay")) +
                    " has no effect with accumulate=" + name + "; write accumulate=decay or leave it out");
  return decays ? Accumulate::kDecay : name == "mean" ? Accumulate::kMean : Accumulate::kSum;
}

// State: [0] the sum of weights; with a threshold, but for mean, [1] the sum of 1 / (entries live) over the
// queries that saw the entry, decayed alike.
class H2o : public WeightsScorer {
 public:
  explicit H2o(const ScorerContext& context)
      : relative_(context.relative),
        accumulate_(accumulate_of(context.values)),
        decay_(accumulate_ == Accumulate::kDecay ? static_cast<float>(context.values.real("decay")) : 1.0f) {}

  int state_width() const override { return counts_uniform() ? 2 : 1; }

  void observe(const WeightsView& view) const override {
    float* sums = view.state;
    if (accumulate_ == Accumulate::kDecay) {
      for (int slot = 0; slot < view.live; ++slot) sums[slot] *= decay_;
    }
    const float scale = scale_of(view);
    for (int g = 0; g < view.group; ++g) {
      const float* weights = view.weights + g * view.stride;
      for (int slot = 0; slot < view.live; ++slot) sums[slot] += scale * weights[slot];
    }
    if (!counts_uniform()) return;
    float* uniform = view.state + view.state_stride;
    const float share = 1.0f / static_cast<float>(view.live);
    for (int slot = 0; slot < view.live; ++slot) uniform[slot] = decay_ * uniform[slot] + share;
  }

  void score(const float* state, int64_t state_stride, std::span<const int32_t> positions, int64_t n,
             float* out) const override {
    for (size_t slot = 0; slot < positions.size(); ++slot) {
      out[slot] = state[slot];
      if (accumulate_ == Accumulate::kMean) out[slot] /= static_cast<float>(n - positions[slot]);
      if (counts_uniform()) out[slot] /= state[state_stride + slot];
    }
  }

 private:
  bool counts_uniform() const { return relative_ && accumulate_ != Accumulate::kMean; }

  // Of one weight: the group's sum for a plain sum, else its mean; means are relative to uniform attention
  // query by query.
  float scale_of(const WeightsView& view) const {
    if (!relative_ && accumulate_ != Accumulate::kMean) return 1.0f;
    const float uniform = relative_ && !counts_uniform() ? static_cast<float>(view.live) : 1.0f;
    return uniform / static_cast<float>(view.group);
  }

  bool relative_;
  Accumulate accumulate_;
  float decay_;
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
  info.fields = {
      name_field("accumulate", std::string("sum"), {"sum", "mean", "decay"},
                 "what an entry is worth: all the attention it got, its mean, or late attention most"),
      real_field("decay", {}, 0, 1, "with accumulate=decay: what a sum is multiplied by per query")};
  info.create = [](const ScorerContext& context) { return std::make_unique<H2o>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_h2o;
const ScorerInfo kScorerInfo_h2o = describe();

}  // namespace kvlab
