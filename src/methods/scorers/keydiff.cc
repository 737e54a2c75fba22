// KeyDiff.
// Idea: Keys that point where all keys point are redundant; entries whose key is most like the mean direction
// go.
// Paper: Park, Jones, Morse, Goel, Lee, Lott: KeyDiff: Key Similarity-Based KV Cache Eviction for
// Long-Context LLM Inference in Resource-Constrained Environments, arXiv:2504.15364.
// Symbols: k_j is the rotated key of entry j, ||.|| the Euclidean norm, cos the cosine of the angle between
// two vectors.
// Differs: the mean direction is taken over the live entries, anew at each action; keys are rotated, as in
// kvpress.
// Bytes per token: none.
// In kvpress: KeyDiffPress, which takes the mean over the whole prompt; inside BlockPress(128) it has the
// paper's form.
// Examples: keydiff(keep=0.25) keydiff(keep=0.5,every=64) keydiff(size=512)
#include <cmath>
#include <vector>

#include "cache/scorer.h"
#include "kernels/elementwise.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

class KeyDiff : public PeriodicScorer {
 public:
  explicit KeyDiff(const ScorerContext& context) : head_dim_(context.shape.head_dim) {}

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    std::vector<double> sum(head_dim_);
    std::vector<float> norms(live), anchor(head_dim_);
    for (int64_t i = 0; i < live; ++i) {
      const float* k = view.k + i * head_dim_;
      norms[i] = std::max(l2_norm(k, head_dim_), 1e-12f);
      for (int c = 0; c < head_dim_; ++c) sum[c] += k[c] / norms[i];
    }
    for (int c = 0; c < head_dim_; ++c) anchor[c] = static_cast<float>(sum[c] / static_cast<double>(live));
    const float length = std::max(l2_norm(anchor.data(), head_dim_), 1e-12f);
    dots(anchor.data(), view.k, live, head_dim_, out);
    for (int64_t i = 0; i < live; ++i) out[i] = -out[i] / (norms[i] * length);
  }

 private:
  int head_dim_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "keydiff";
  info.title = "KeyDiff";
  info.paper =
      "Park et al.: KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in "
      "Resource-Constrained Environments, arXiv:2504.15364";
  info.summary = "evicts entries whose keys point in the common direction";
  info.formula = "score_j = -cos(k_j, mean over live entries of k / ||k||)";
  info.kind = ScorerKind::kPeriodic;
  info.create = [](const ScorerContext& context) { return std::make_unique<KeyDiff>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_keydiff;
const ScorerInfo kScorerInfo_keydiff = describe();

}  // namespace kvlab
