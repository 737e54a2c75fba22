// StreamingLLM.
// Idea: The first tokens (attention sinks) take much of the attention whatever they say, and recent tokens
// are needed; what lies between goes, the oldest first.
// Paper: Xiao, Tian, Chen, Han, Lewis: Efficient Streaming Language Models with Attention Sinks,
// arXiv:2309.17453.
// Symbols: j is the position of the entry.
// Differs: the paper renumbers positions inside the cache (keys stored before rotary), so that the distance
// to the sinks stays small; here keys keep their true positions, so texts beyond the model's context are not
// helped.
// Bytes per token: one score (a float) per live entry; with sinks and window, or a size, the whole is
// constant however long the text.
// In kvpress: StreamingLLMPress (n_sink=4), which keeps true positions as well.
// Examples: streaming_llm(keep=0.25) streaming_llm(sinks=4,window=128) streaming_llm(size=512)
#include "cache/scorer.h"

namespace kvlab {

namespace {

class StreamingLlm : public FixedScorer {
 public:
  explicit StreamingLlm(const ScorerContext& context) : heads_(context.shape.kv_heads) {}

  void score(const NewEntries& entries, float* out) const override {
    for (int head = 0; head < heads_; ++head) {
      for (int r = 0; r < entries.rows; ++r) *out++ = static_cast<float>(entries.first_position + r);
    }
  }

 private:
  int heads_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "streaming_llm";
  info.title = "StreamingLLM";
  info.paper =
      "Xiao, Tian, Chen, Han, Lewis: Efficient Streaming Language Models with Attention Sinks, "
      "arXiv:2309.17453";
  info.summary = "keeps the first tokens and the most recent ones";
  info.formula = "score_j = j";
  info.sinks = 4;
  info.context_sinks = 4;
  info.no_threshold = "its score is the position";
  info.recency = true;
  info.size_from_protection = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<StreamingLlm>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_streaming_llm;
const ScorerInfo kScorerInfo_streaming_llm = describe();

}  // namespace kvlab
