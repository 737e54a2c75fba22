// KVzip.
// Idea: What a model needs to repeat its context word by word is what any later question may need: the
// context is repeated once, and an entry is worth the most attention that it gets meanwhile.
// Paper: Kim, Kim, Kwon, Lee, Yun, Song: KVzip: Query-Agnostic KV Cache Compression with Context
// Reconstruction, arXiv:2505.23416. KVzip+ (plus=yes): Jegou, Jeblick: KVzap, arXiv:2601.07891.
// Symbols: The context is cut into parts of `chunk` tokens. Each part is fed to a fork of the session behind
// "Repeat the previous context exactly." (a later part: "... starting with" and the `previous` tokens before
// it) and the chat template's end of the user's turn. a_qj is the weight of a token q that is fed, prompt
// included, on entry j of the part; the softmax runs over the first `sinks` tokens, the part, and what is fed
// up to q. v_j is the value, W_O the output projection of the query head, h_q the layer's input after its
// norm.
// Differs: none in the scores from kvpress, which follows the paper's code. There the tokens of a chat
// template ahead of the context score 0 and go first; here every token of the context is scored. What goes
// is removed, there it is masked. In layers with a sliding window, which kvpress refuses, entries in reach
// are scored as if the repeated part were in reach as well.
// Bytes per token: none; while the context is repeated, a part's entries beside its own.
// In kvpress: KVzipPress (chunk_size=2048, n_sink=4, layerwise=False, kvzip_plus_normalization=False).
// Examples: kvzip(keep=0.25) kvzip(plus=yes,keep=0.25) kvzip(scope=layer,keep=0.5) kvzip(scope=head,size=512)
#include "base/error.h"
#include "cache/scorer.h"

namespace kvlab {

namespace {

class KvZip : public ContextScorer {
 public:
  explicit KvZip(const ScorerContext& context) {
    how_.chunk = context.values.integer("chunk");
    how_.previous = context.values.integer("previous");
    how_.normalised = context.values.text("plus") == "yes";
  }

  std::optional<Reconstruction> reconstruction() const override { return how_; }
  void score(std::span<const PeriodicView>, std::span<float* const>) const override {
    KVLAB_CHECK(!"the session gives the scores of what repeats the context");
  }

 private:
  Reconstruction how_;
};

std::string implied_wrapper(const Values& values) {
  const std::string& scope = values.text("scope");
  if (scope == "model") return "whole_model";
  return scope == "layer" ? "adakv(safeguard=0)" : "";
}

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "kvzip";
  info.title = "KVzip";
  info.paper =
      "Kim, Kim, Kwon, Lee, Yun, Song: KVzip: Query-Agnostic KV Cache Compression with Context "
      "Reconstruction, arXiv:2505.23416";
  info.summary = "keeps what the model attends to while it repeats the context";
  info.formula = "score_j = max over q and the group of a_qj; plus=yes: times ||W_O v_j|| / ||h_q||";
  info.kind = ScorerKind::kContext;
  info.no_threshold = "heads and layers share one budget by score";
  info.context_sinks = 4;
  info.fields = {
      name_field("plus", std::string("no"), {"no", "yes"},
                 "weigh attention by what the value does to the hidden state (KVzip+)"),
      name_field("scope", std::string("model"), {"model", "layer", "head"},
                 "what shares one budget: all heads of the model, of a layer, or each head has its own"),
      int_field("chunk", int64_t{2048}, 1, 1 << 20, "tokens of the context that are repeated at a time"),
      int_field("previous", int64_t{8}, 0, 1 << 20, "tokens before a part that introduce it")};
  info.implied = implied_wrapper;
  info.create = [](const ScorerContext& context) { return std::make_unique<KvZip>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_kvzip;
const ScorerInfo kScorerInfo_kvzip = describe();

}  // namespace kvlab
