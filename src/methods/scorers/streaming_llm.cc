// StreamingLLM keeps the first tokens (attention sinks) and the most recent ones.
// Paper: Xiao, Tian, Chen, Han, Lewis: Efficient Streaming Language Models with Attention Sinks,
// arXiv:2309.17453. Differs: the paper renumbers positions inside the cache (keys stored before rotary), so
// that the distance to the sinks stays small; here keys keep their true positions, so texts beyond the
// model's context are not helped. Bytes per token: with sinks and window (or size) constant however long the
// text; the score is one float per live entry.
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
