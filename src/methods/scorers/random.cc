// Random.
// Idea: Every entry draws a number in [0, 1) from (seed, document, layer, head, position), so that splits,
// forks and shards agree. The floor under every other method; a threshold of 1 evicts everything unprotected.
// Paper: none, a control.
// Symbols: u_j is the number that entry j of this layer and KV head has drawn.
// Differs: there is no paper to differ from.
// Bytes per token: one score (a float) per live entry.
// In kvpress: RandomPress, which protects nothing and, given a seed, draws the same numbers in every layer.
// Examples: random(keep=0.5) random(keep=0.5,seed=7) random(threshold=1,sinks=4,window=128)
#include "base/random.h"
#include "cache/scorer.h"

namespace kvlab {

namespace {

class Random : public FixedScorer {
 public:
  explicit Random(const ScorerContext& context) : heads_(context.shape.kv_heads), seed_(context.seed) {}

  void score(const NewEntries& entries, float* out) const override {
    for (int head = 0; head < heads_; ++head) {
      for (int r = 0; r < entries.rows; ++r) {
        *out++ =
            entry_uniform(seed_, entries.document, static_cast<uint64_t>(entries.layer),
                          static_cast<uint64_t>(head), static_cast<uint64_t>(entries.first_position + r));
      }
    }
  }

 private:
  int heads_;
  uint64_t seed_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "random";
  info.title = "Random";
  info.paper = "a control: no paper";
  info.summary = "keeps entries by chance; the floor for every scorer";
  info.formula = "score_j = u_j, uniform in [0, 1)";
  info.sinks = 4;
  info.seeded = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<Random>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_random;
const ScorerInfo kScorerInfo_random = describe();

}  // namespace kvlab
