// Non-causal attention.
// Idea: An entry is worth the attention it would get if the tokens around it could all look at each other,
// also backwards; later tokens then have no advantage, and no query beyond the text is needed.
// Paper: Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
// Leverage Scores, arXiv:2507.08143 (one of Compactor's two parts).
// Symbols: the context is cut into chunks of `chunk` entries; a_qj is the softmax of q.k_j over the
// entries of q's own chunk, not masked; v_j is the value of entry j, ||.|| the Euclidean norm; the mean is
// over the group (the query heads that share this KV head), the neighbours are j - 1, j and j + 1 (zeros
// beyond the ends count); z makes the mean over all entries of the layer 0 and their standard deviation 1.
// Differs: as in kvpress, q.k is not divided by sqrt(head size) (scale=yes does), and the last chunk is
// filled up to `chunk` with queries and keys of zeros that take part: kvpress masks them with -1e-9, where
// -1e9 was meant, so real queries pay these keys some attention, and each of these queries pays every
// entry 1 / chunk. pad=none leaves the last chunk as short as it is.
// Bytes per token: every query of the context is carried until its end (query heads x head size floats per
// layer), and nothing after it.
// In kvpress: NonCausalAttnPress (chunk_size=256).
// Examples: non_causal_attention(keep=0.5) non_causal_attention(keep=0.25,pad=none)
// non_causal_attention(keep=0.5,chunk=128,scale=yes)
#include <algorithm>

#include "cache/layer_scores.h"

namespace kvlab {

namespace {

class NonCausalAttention : public ContextScorer {
 public:
  explicit NonCausalAttention(const ScorerContext& context)
      : shape_(context.shape),
        options_{static_cast<int>(context.values.integer("chunk")), context.values.text("scale") == "yes",
                 context.values.text("pad") == "kvpress"} {}

  int recent_queries() const override { return kAllQueries; }

  void score(std::span<const PeriodicView> heads, std::span<float* const> out) const override {
    LayerScores scores = chunk_attention(shape_, options_, heads);
    standardise(scores);
    for (size_t h = 0; h < heads.size(); ++h) std::copy(scores[h].begin(), scores[h].end(), out[h]);
  }

 private:
  ModelShape shape_;
  ChunkAttentionOptions options_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "non_causal_attention";
  info.title = "NonCausalAttention";
  info.paper =
      "Chari, Van Durme: Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate Leverage "
      "Scores, arXiv:2507.08143";
  info.summary = "keeps what the tokens around it attend to when later ones are seen as well";
  info.formula =
      "score_j = z(mean over neighbours of j of ||v_j|| mean over the group of sum over q of a_qj)";
  info.kind = ScorerKind::kContext;
  info.fields = {int_field("chunk", int64_t{256}, 1, 4096, "tokens that see each other"),
                 name_field("scale", std::string("no"), {"no", "yes"}, "divide q.k by sqrt(head size)"),
                 name_field("pad", std::string("kvpress"), {"kvpress", "none"},
                            "whether zeros fill up the last chunk and take part, as in kvpress")};
  info.create = [](const ScorerContext& context) { return std::make_unique<NonCausalAttention>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_non_causal_attention;
const ScorerInfo kScorerInfo_non_causal_attention = describe();

}  // namespace kvlab
