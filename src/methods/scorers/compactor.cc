// Compactor.
// Idea: Keys that stand out (leverage) matter whatever is asked, and what the tokens around attend to
// matters to this text; the more is to go, the more weight the first of the two gets.
// Paper: Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
// Leverage Scores, arXiv:2507.08143.
// Symbols: leverage_j and attention_j are the scores of leverage_score and non_causal_attention, computed
// over the entries outside sinks and window only; z makes the mean over these entries of the layer 0 and
// their standard deviation 1; blend is the fraction that goes, unless it is given.
// Differs: as in kvpress, zeros fill the last chunk (pad=none leaves them out; see non_causal_attention).
// kvpress gives the protected ends the layer's highest score, so that they tie with its best entry; here
// they are protected like any sinks and window. Phi belongs to the seed (see leverage_score). The paper's
// calibration, which predicts the loss of a context, is not part of it.
// Bytes per token: every query of the context is carried until its end (query heads x head size floats per
// layer), and nothing after it.
// In kvpress: CompactorPress (sink_size_start=8, sink_size_end=4, chunk_size=256, sketch_dimension=48).
// Examples: compactor(keep=0.5) compactor(keep=0.25,blend=0.3) compactor(size=512,pad=none,sketch=0)
#include <algorithm>
#include <limits>
#include <optional>

#include "cache/layer_scores.h"

namespace kvlab {

namespace {

class Compactor : public ContextScorer {
 public:
  explicit Compactor(const ScorerContext& context)
      : shape_(context.shape),
        attention_{static_cast<int>(context.values.integer("chunk")), context.values.text("scale") == "yes",
                   context.values.text("pad") == "kvpress"},
        leverage_{static_cast<int>(context.values.integer("sketch")), context.values.real("ridge"),
                  context.seed} {
    if (context.values.given("blend")) blend_ = context.values.real("blend");
  }

  int recent_queries() const override { return kAllQueries; }

  void score(std::span<const PeriodicView> heads, std::span<float* const> out) const override {
    std::vector<PeriodicView> open;
    for (const PeriodicView& view : heads) open.push_back(unprotected_part(view, shape_.head_dim));
    LayerScores leverage = key_leverage(shape_, leverage_, open);
    LayerScores attention = chunk_attention(shape_, attention_, open);
    standardise(leverage);
    standardise(attention);
    for (size_t h = 0; h < heads.size(); ++h) {
      const auto live = static_cast<double>(heads[h].positions.size());
      const double blend = blend_.value_or(1 - heads[h].exact_limit / live);
      std::fill_n(out[h], heads[h].positions.size(), std::numeric_limits<float>::infinity());
      const int64_t begin = open[h].positions.data() - heads[h].positions.data();
      for (size_t t = 0; t < leverage[h].size(); ++t)
        out[h][begin + static_cast<int64_t>(t)] =
            static_cast<float>(blend * leverage[h][t] + attention[h][t]);
    }
  }

 private:
  ModelShape shape_;
  ChunkAttentionOptions attention_;
  LeverageOptions leverage_;
  std::optional<double> blend_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "compactor";
  info.title = "Compactor";
  info.paper =
      "Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate Leverage "
      "Scores, arXiv:2507.08143";
  info.summary = "keeps keys that stand out and what the tokens around attend to, weighed by how much goes";
  info.formula = "score_j = blend z(leverage_j) + z(attention_j)";
  info.kind = ScorerKind::kContext;
  info.seeded = true;
  info.sinks = info.context_sinks = 8;
  info.context_window = 4;
  info.fields = {real_field("blend", {}, 0, 1e6, "weight of the leverage; by default the fraction that goes"),
                 int_field("chunk", int64_t{256}, 1, 4096, "tokens that see each other"),
                 name_field("scale", std::string("no"), {"no", "yes"}, "divide q.k by sqrt(head size)"),
                 name_field("pad", std::string("kvpress"), {"kvpress", "none"},
                            "whether zeros fill up the last chunk and take part, as in kvpress"),
                 int_field("sketch", int64_t{48}, 0, 1024,
                           "dimensions that keys are projected to at random; 0: none, exact leverage"),
                 real_field("ridge", 0.01, 1e-9, 1e9, "added to the diagonal before inverting")};
  info.no_threshold = "its blend follows from how much goes";
  info.create = [](const ScorerContext& context) { return std::make_unique<Compactor>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_compactor;
const ScorerInfo kScorerInfo_compactor = describe();

}  // namespace kvlab
