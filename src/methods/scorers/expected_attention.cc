// ExpectedAttention.
// Idea: Future queries are taken as normally distributed, with the mean and covariance of the past ones,
// at the next 512 positions; an entry is worth the attention they are expected to pay to it, times the
// length of its value.
// Paper: Devoto, Jeblick, Jegou: Expected Attention: KV Cache Compression by Estimating Attention from
// Future Queries Distribution, arXiv:2510.00636 (reference code in NVIDIA/kvpress).
// Symbols: k_j, v_j are the key and value of entry j; mu, Sigma the mean and covariance of the past
// queries of a query head before rotary, rotated to the average of the next `future` positions; d the head
// size; softmax_j over the live entries outside the sinks; the group are the query heads that share this
// KV head.
// Differs: causal while streaming (moments of the tokens seen so far, at their true positions) and
// repeated at each action. With a threshold, scores are relative to uniform attention: m p_j ||v_j|| /
// mean ||v||, p_j the mean over the group and m the live entries outside the sinks. statistics=FILE takes
// mean and covariance from other text; nothing is then carried.
// Bytes per token: none; per layer and query head the sum and outer product of queries are carried (d +
// d^2 doubles).
// In kvpress: ExpectedAttentionPress (n_future_positions=512, n_sink=4, use_covariance=True,
// use_vnorm=True, epsilon=0), which acts once, at the end of the prompt, and protects no recent tokens;
// with statistics= ExpectedAttentionStatsPress, whose file has the same tensors.
// Examples: expected_attention(keep=0.25) expected_attention(keep=0.5,every=64)
// expected_attention(threshold=0.5)
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "base/error.h"
#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "format/safetensors.h"
#include "kernels/elementwise.h"
#include "kernels/mean_rotation.h"
#include "kernels/normal_logits.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

// Means and covariances of queries before rotary that were measured on other text, for every layer and query
// head.
class QueryStatistics {
 public:
  QueryStatistics(const std::string& path, const ModelShape& shape) : shape_(shape) {
    const auto file = open_safetensors(path);
    mean_ = read(*file, "query_mean", {shape.layers, shape.query_heads, shape.head_dim});
    covariance_ = read(*file, "query_cov", {shape.layers, shape.query_heads, shape.head_dim, shape.head_dim});
  }
  const float* mean(int layer, int query_head) const {
    return mean_.data() + place(layer, query_head) * shape_.head_dim;
  }
  const float* covariance(int layer, int query_head) const {
    return covariance_.data() + place(layer, query_head) * shape_.head_dim * shape_.head_dim;
  }

 private:
  static std::vector<float> read(const Weights& file, const std::string& name,
                                 const std::vector<int64_t>& expected) {
    const std::vector<int64_t> found = file.shape(name);
    if (found != expected) {
      throw UserError("expected_attention: statistics " + file.path() + " are of another model: " + name +
                      " has shape " + shape_text(found) + ", the model needs " + shape_text(expected));
    }
    std::vector<float> values = file.read(name, expected);
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
      throw UserError("expected_attention: statistics " + file.path() + ": " + name +
                      " holds NaN or infinity; fit them again");
    }
    return values;
  }
  int64_t place(int layer, int query_head) const {
    return static_cast<int64_t>(layer) * shape_.query_heads + query_head;
  }

  ModelShape shape_;
  std::vector<float> mean_, covariance_;
};

// How the queries of a query head are distributed before rotary.
struct Normal {
  std::vector<double> mean;        // [d]
  std::vector<double> covariance;  // [d][d], symmetric; empty when it is not used
};

class ExpectedAttention : public PeriodicScorer {
 public:
  explicit ExpectedAttention(const ScorerContext& context)
      : shape_(context.shape),
        future_(static_cast<int>(context.values.integer("future"))),
        covariance_(context.values.text("covariance") == "yes"),
        vnorm_(context.values.text("vnorm") == "yes"),
        epsilon_(context.values.real("epsilon")),
        relative_(context.relative) {
    if (context.values.given("statistics"))
      statistics_ = std::make_unique<QueryStatistics>(context.values.text("statistics"), shape_);
  }

  bool query_moments() const override { return !statistics_; }

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    int64_t open = 0;  // the first live entry outside the sinks
    while (open < live && view.positions[open] < view.sinks) ++open;
    const int64_t count = live - open;
    std::vector<double> probability(count);
    std::vector<float> z(count);
    const MeanRotation rotation = mean_rotation(shape_.rotary_of(view.layer).at(view.n), view.n, future_);
    const float* k = view.k + open * shape_.head_dim;
    const bool known = statistics_ || view.queries->counted() > 0;
    for (int g = 0; g < shape_.group() && known; ++g) {
      logits(queries_of(view, g), rotation, k, count, z.data());
      masked_softmax(z.data(), count);
      for (int64_t i = 0; i < count; ++i) probability[i] += static_cast<double>(z[i]) / shape_.group();
    }
    std::fill(out, out + open, std::numeric_limits<float>::infinity());
    weigh(probability, view.v + open * shape_.head_dim, out + open);
  }

 private:
  // The past queries, or those of the text that the statistics are of.
  Normal queries_of(const PeriodicView& view, int g) const {
    const int d = shape_.head_dim;
    Normal queries;
    if (statistics_) {
      const int head = view.head * shape_.group() + g;
      const float* mean = statistics_->mean(view.layer, head);
      queries.mean.assign(mean, mean + d);
      const float* covariance = statistics_->covariance(view.layer, head);
      if (covariance_) queries.covariance.assign(covariance, covariance + d * d);
      return queries;
    }
    const auto n = static_cast<double>(view.queries->counted());
    for (int i = 0; i < d; ++i) queries.mean.push_back(view.queries->sum(g)[i] / n);
    if (covariance_) queries.covariance = centred(view.queries->outer(g), n, queries.mean);
    return queries;
  }

  // The covariance from the lower triangle of the sum of outer products.
  static std::vector<double> centred(const double* outer, double n, const std::vector<double>& mean) {
    const size_t d = mean.size();
    std::vector<double> covariance(d * d);
    for (size_t i = 0; i < d; ++i) {
      for (size_t j = 0; j <= i; ++j)
        covariance[i * d + j] = covariance[j * d + i] = outer[i * d + j] / n - mean[i] * mean[j];
    }
    return covariance;
  }

  // z_j = k_j.mu / sqrt(d) + k_j^T Sigma k_j / (2 d): the log of E[exp(q.k_j / sqrt(d))] for a normal q.
  void logits(Normal queries, const MeanRotation& rotation, const float* k, int64_t count, float* z) const {
    const int d = shape_.head_dim;
    rotation.apply(queries.mean.data(), 1);
    std::vector<float> mean(d);
    for (int i = 0; i < d; ++i)
      mean[i] = static_cast<float>(queries.mean[i] / std::sqrt(static_cast<double>(d)));
    if (!covariance_) return dots(mean.data(), k, count, d, z);
    double* sigma = queries.covariance.data();
    for (int i = 0; i < d; ++i) rotation.apply(sigma + i, d);                            // R Sigma
    for (int i = 0; i < d; ++i) rotation.apply(sigma + static_cast<int64_t>(i) * d, 1);  // (R Sigma) R^T
    std::vector<float> half(queries.covariance.size());
    for (size_t i = 0; i < half.size(); ++i) half[i] = static_cast<float>(sigma[i] / (2.0 * d));
    normal_logits(mean.data(), half.data(), k, count, d, z);
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
  std::unique_ptr<const QueryStatistics> statistics_;  // null: those of the past queries
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
      real_field("epsilon", 0.0, 0, 1, "added to every probability"),
      path_field("statistics",
                 "safetensors file or folder: query_mean [layers, query_heads, head_dim] and "
                 "query_cov [layers, query_heads, head_dim, head_dim] in place of past queries")};
  info.create = [](const ScorerContext& context) { return std::make_unique<ExpectedAttention>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_expected_attention;
const ScorerInfo kScorerInfo_expected_attention = describe();

}  // namespace kvlab
