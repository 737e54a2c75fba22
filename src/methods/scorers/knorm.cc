// Knorm.
// Idea: Keys of small norm draw more attention, so entries with large keys go first.
// Paper: Devoto, Zhao, Scardapane, Minervini: A Simple and Effective L2 Norm-Based Strategy for KV Cache
// Compression, arXiv:2406.11430.
// Symbols: k_j is the key of entry j, ||.|| the Euclidean norm.
// Differs: the paper leaves the first two layers uncompressed; as in kvpress, all layers are treated alike.
// Rotary does not change a key's norm, so it does not matter that keys are stored rotated.
// Bytes per token: one score per layer and KV head.
// In kvpress: KnormPress, with the same score and no protection.
// Examples: knorm(keep=0.25) knorm(threshold=-16) knorm(keep=0.5,sinks=4)
#include "cache/scorer.h"
#include "kernels/elementwise.h"

namespace kvlab {

namespace {

class Knorm : public FixedScorer {
 public:
  explicit Knorm(const ScorerContext& context) : shape_(context.shape) {}

  void score(const NewEntries& entries, float* out) const override {
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const float* k = entries.k + head * shape_.head_dim;
      for (int r = 0; r < entries.rows; ++r) *out++ = -l2_norm(k + r * entries.row_stride, shape_.head_dim);
    }
  }

 private:
  ModelShape shape_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "knorm";
  info.title = "Knorm";
  info.paper =
      "Devoto, Zhao, Scardapane, Minervini: A Simple and Effective L2 Norm-Based Strategy for KV Cache "
      "Compression, "
      "arXiv:2406.11430";
  info.summary = "evicts entries whose keys are long";
  info.formula = "score_j = -||k_j||";
  info.no_comparison = "the norms of their keys have scales of their own";
  info.create = [](const ScorerContext& context) { return std::make_unique<Knorm>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_knorm;
const ScorerInfo kScorerInfo_knorm = describe();

}  // namespace kvlab
