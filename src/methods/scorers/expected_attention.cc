// ExpectedAttention.
// Idea: Future queries are taken as normally distributed, with the mean and covariance of the past ones, at
// the next 512 positions; an entry is worth the attention they are expected to pay to it, times the length of
// its value.
// Paper: Devoto, Jeblick, Jegou: Expected Attention: KV Cache Compression by Estimating Attention from Future
// Queries Distribution, arXiv:2510.00636 (reference code in NVIDIA/kvpress).
// Symbols: k_j, v_j are the key and value of entry j; mu, Sigma the mean and covariance of the past queries
// of a query head before rotary, rotated to the average of the next `future` positions; d the head size;
// softmax_j over the live entries outside the sinks; the group are the query heads that share this KV head.
// Differs: causal while streaming (moments of the tokens seen so far, at their true positions) and repeated
// at each action. With a threshold, scores are relative to uniform attention: m p_j ||v_j|| / mean ||v||, p_j
// the mean over the group and m the live entries outside the sinks.
// Bytes per token: none; per layer and query head the sum and outer product of queries are carried (d + d^2
// doubles).
// In kvpress: ExpectedAttentionPress (n_future_positions=512, n_sink=4, use_covariance=True, use_vnorm=True,
// epsilon=0), which acts once, at the end of the prompt, and protects no recent tokens.
// Examples: expected_attention(keep=0.25) expected_attention(keep=0.5,every=64)
// expected_attention(threshold=0.5)
#include <cmath>
#include <limits>
#include <vector>

#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "kernels/elementwise.h"
#include "kernels/normal_logits.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

// The mean over future positions of the rotation matrices: per pair a cosine and a sine.
struct MeanRotation {
  std::vector<double> cos, sin;  // [head_dim / 2 pairs]; pairs beyond the rotated ones are (1, 0)
};

// Mean over p = first ... first + count - 1 of exp(i p f), in closed form: the geometric sum.
MeanRotation mean_rotation(const std::vector<double>& frequencies, int64_t first, int count) {
  MeanRotation mean;
  for (const double f : frequencies) {
    const double centre = (static_cast<double>(first) + (count - 1) / 2.0) * f;
    const double shrink = std::sin(f / 2) == 0 ? 1.0 : std::sin(count * f / 2) / (count * std::sin(f / 2));
    mean.cos.push_back(shrink * std::cos(centre));
    mean.sin.push_back(shrink * std::sin(centre));
  }
  return mean;
}

// x <- R x for the strided vector of a matrix's row or column.
void rotate(const MeanRotation& mean, double* x, int64_t stride) {
  const auto pairs = static_cast<int64_t>(mean.cos.size());
  for (int64_t i = 0; i < pairs; ++i) {
    double& a = x[i * stride];
    double& b = x[(i + pairs) * stride];
    const double rotated = a * mean.cos[i] - b * mean.sin[i];
    b = b * mean.cos[i] + a * mean.sin[i];
    a = rotated;
  }
}

class ExpectedAttention : public PeriodicScorer {
 public:
  explicit ExpectedAttention(const ScorerContext& context)
      : shape_(context.shape),
        future_(static_cast<int>(context.values.integer("future"))),
        covariance_(context.values.text("covariance") == "yes"),
        vnorm_(context.values.text("vnorm") == "yes"),
        epsilon_(context.values.real("epsilon")),
        relative_(context.relative) {}

  bool query_moments() const override { return true; }

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    int64_t open = 0;  // the first live entry outside the sinks
    while (open < live && view.positions[open] < view.sinks) ++open;
    const int64_t count = live - open;
    std::vector<double> probability(count);
    std::vector<float> z(count);
    const MeanRotation rotation = mean_rotation(shape_.rotary_of(view.layer).at(view.n), view.n, future_);
    const float* k = view.k + open * shape_.head_dim;
    for (int g = 0; g < shape_.group() && view.queries->counted() > 0; ++g) {
      logits(*view.queries, g, rotation, k, count, z.data());
      masked_softmax(z.data(), count);
      for (int64_t i = 0; i < count; ++i) probability[i] += static_cast<double>(z[i]) / shape_.group();
    }
    std::fill(out, out + open, std::numeric_limits<float>::infinity());
    weigh(probability, view.v + open * shape_.head_dim, out + open);
  }

 private:
  // z_j = k_j.mu / sqrt(d) + k_j^T Sigma k_j / (2 d): the log of E[exp(q.k_j / sqrt(d))] for a normal q.
  void logits(const QueryMemory& queries, int g, const MeanRotation& rotation, const float* k, int64_t count,
              float* z) const {
    const int d = shape_.head_dim;
    const auto n = static_cast<double>(queries.counted());
    std::vector<double> mu(d);
    for (int i = 0; i < d; ++i) mu[i] = queries.sum(g)[i] / n;
    const std::vector<float> spread =
        covariance_ ? half_covariance(queries.outer(g), n, mu, rotation) : std::vector<float>();
    rotate(rotation, mu.data(), 1);
    std::vector<float> mean(d);
    for (int i = 0; i < d; ++i) mean[i] = static_cast<float>(mu[i] / std::sqrt(static_cast<double>(d)));
    if (covariance_)
      normal_logits(mean.data(), spread.data(), k, count, d, z);
    else
      dots(mean.data(), k, count, d, z);
  }

  // R Sigma R^T / (2 d), of which the lower triangle is read: [d][d].
  std::vector<float> half_covariance(const double* outer, double n, const std::vector<double>& mu,
                                     const MeanRotation& rotation) const {
    const int d = shape_.head_dim;
    std::vector<double> sigma(static_cast<size_t>(d) * d);
    for (int i = 0; i < d; ++i) {
      for (int j = 0; j <= i; ++j) {
        const double c = outer[static_cast<int64_t>(i) * d + j] / n - mu[i] * mu[j];
        sigma[static_cast<size_t>(i) * d + j] = sigma[static_cast<size_t>(j) * d + i] = c;
      }
    }
    for (int i = 0; i < d; ++i) rotate(rotation, sigma.data() + i, d);  // R Sigma
    for (int i = 0; i < d; ++i)
      rotate(rotation, sigma.data() + static_cast<int64_t>(i) * d, 1);  // (R Sigma) R^T
    std::vector<float> half(sigma.size());
    for (size_t i = 0; i < half.size(); ++i) half[i] = static_cast<float>(sigma[i] / (2.0 * d));
    return half;
  }

  void weigh(const std::vector<double>& probability, const float* v, float* out) const {
    const auto count = static_cast<int64_t>(probability.size());
    std::vector<double> lengths(count, 1.0);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (vnorm_) lengths[i] = l2_norm(v + i * shape_.head_dim, shape_.head_dim);
      sum += lengths[i];
    }
    // Uniform attention to values of the mean length scores 1.
    const double scale =
        relative_ && sum > 0 ? static_cast<double>(count) * static_cast<double>(count) / sum : 1.0;
    for (int64_t i = 0; i < count; ++i)
      out[i] = static_cast<float>((probability[i] + epsilon_) * lengths[i] * scale);
  }

  ModelShape shape_;
  int future_;
  bool covariance_, vnorm_;
  double epsilon_;
  bool relative_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "expected_attention";
  info.title = "ExpectedAttention";
  info.paper =
      "Devoto, Jeblick, Jegou: Expected Attention: KV Cache Compression by Estimating Attention from Future "
      "Queries "
      "Distribution, arXiv:2510.00636";
  info.summary = "keeps what future queries, distributed as the past ones, are expected to attend to";
  info.formula =
      "score_j = (mean over the group of softmax_j(k_j.mu/sqrt(d) + k_j^T Sigma k_j/(2d)) + epsilon) ||v_j||";
  info.kind = ScorerKind::kPeriodic;
  info.sinks = 4;
  info.context_sinks = 4;
  info.fields = {
      int_field("future", int64_t{512}, 1, 1 << 20, "future positions the queries are expected at"),
      name_field("covariance", std::string("yes"), {"yes", "no"}, "use the covariance of the queries"),
      name_field("vnorm", std::string("yes"), {"yes", "no"}, "weigh by the length of the value"),
      real_field("epsilon", 0.0, 0, 1, "added to every probability")};
  info.create = [](const ScorerContext& context) { return std::make_unique<ExpectedAttention>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_expected_attention;
const ScorerInfo kScorerInfo_expected_attention = describe();

}  // namespace kvlab
