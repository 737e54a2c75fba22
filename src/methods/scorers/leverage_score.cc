// Leverage score.
// Idea: A key that the other keys cannot be combined to (a large statistical leverage) says something that
// nothing else says, so it stays, whoever may ask for it.
// Paper: Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
// Leverage Scores, arXiv:2507.08143 (one of Compactor's two parts).
// Symbols: x_j is the key of entry j before rotary, less the head's mean, times a random d x `sketch`
// matrix Phi of normal numbers over sqrt(sketch); X has the rows x_j; I is the unit matrix; z makes the
// mean over all entries of the layer 0 and their standard deviation 1.
// Differs: Phi belongs to the seed, layer and head (kvpress draws it anew at every call, from the global
// generator), and the factorisation is in double precision: with a sketch the matrix is so badly
// conditioned that single precision loses the score's second digit. sketch=0 takes the keys as they are:
// exact leverage.
// Bytes per token: none.
// In kvpress: LeverageScorePress (sketch_dimension=48), which has the ridge 0.01 built in.
// Examples: leverage_score(keep=0.5) leverage_score(keep=0.25,sketch=0) leverage_score(keep=0.5,seed=3)
#include <algorithm>

#include "cache/layer_scores.h"

namespace kvlab {

namespace {

class LeverageScore : public ContextScorer {
 public:
  explicit LeverageScore(const ScorerContext& context)
      : shape_(context.shape),
        options_{static_cast<int>(context.values.integer("sketch")), context.values.real("ridge"),
                 context.seed} {}

  void score(std::span<const PeriodicView> heads, std::span<float* const> out) const override {
    LayerScores scores = key_leverage(shape_, options_, heads);
    standardise(scores);
    for (size_t h = 0; h < heads.size(); ++h) std::copy(scores[h].begin(), scores[h].end(), out[h]);
  }

 private:
  ModelShape shape_;
  LeverageOptions options_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "leverage_score";
  info.title = "LeverageScore";
  info.paper =
      "Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate Leverage "
      "Scores, arXiv:2507.08143";
  info.summary = "keeps entries whose keys stand out from what the others span";
  info.formula = "score_j = z(x_j^T (X^T X + ridge I)^-1 x_j)";
  info.kind = ScorerKind::kContext;
  info.seeded = true;
  info.fields = {int_field("sketch", int64_t{48}, 0, 1024,
                           "dimensions that keys are projected to at random; 0: none, exact scores"),
                 real_field("ridge", 0.01, 1e-9, 1e9, "added to the diagonal before inverting")};
  info.create = [](const ScorerContext& context) { return std::make_unique<LeverageScore>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_leverage_score;
const ScorerInfo kScorerInfo_leverage_score = describe();

}  // namespace kvlab
