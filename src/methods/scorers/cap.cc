// CapKV.
// Idea: Live values, weighted by how well their keys agree with the queries, span what attention can put
// out; an entry is worth the capacity that would be lost without it: its weighted leverage among these
// values.
// Paper: Rethinking KV Cache Eviction via a Unified Information-Theoretic Objective (CapKV),
// arXiv:2604.25975 (reference code in NVIDIA/kvpress).
// Symbols: k_j, v_j are the key and value of entry j; mu the mean of a query head's past queries before
// rotary, rotated to the average of the next `future` positions; w_j is divided by the largest; A = I +
// sum_j (w_j + 1e-6) v_j v_j^T; sums go over the live entries outside the sinks; the group are the query
// heads that share this KV head.
// Differs: as in kvpress, keys and mu are taken at length 1 (the paper's dot product as it is: cosine=no)
// and mu is rotated to the positions to come, of which the paper says nothing. Moments are of the tokens
// seen so far, at their true positions, and the scores are repeated at each action. With a threshold,
// scores are relative to their mean.
// Bytes per token: none; per layer and query head the sum and outer product of queries are carried (d +
// d^2 doubles).
// In kvpress: CapPress (tau=5, n_future_positions=512, n_sink=4), which acts once, at the end of the
// prompt.
// Examples: cap(keep=0.25) cap(keep=0.5,at=context) cap(threshold=0.5,every=64)
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "kernels/elementwise.h"
#include "kernels/mean_rotation.h"
#include "kernels/moments.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

constexpr double kLeastWeight = 1e-6;  // added to every weight in A
constexpr int kRows = 64;              // values that are weighted at a time

// The lower triangular L with A = L L^T, in place of A's lower triangle. A is I + a positive matrix, so no
// pivot is below 1 but for rounding.
void cholesky(std::vector<double>& a, int d) {
  for (int i = 0; i < d; ++i) {
    double* row = a.data() + static_cast<int64_t>(i) * d;
    for (int j = 0; j <= i; ++j) {
      const double* other = a.data() + static_cast<int64_t>(j) * d;
      double sum = row[j];
      for (int c = 0; c < j; ++c) sum -= row[c] * other[c];
      row[j] = i == j ? std::sqrt(sum) : sum / other[j];
    }
  }
}

// The inverse of the lower triangular L: [d][d], zeros above the diagonal.
std::vector<float> inverse_of_triangle(const std::vector<double>& l, int d) {
  std::vector<double> inverse(l.size());
  for (int j = 0; j < d; ++j) {
    inverse[static_cast<int64_t>(j) * d + j] = 1.0 / l[static_cast<int64_t>(j) * d + j];
    for (int i = j + 1; i < d; ++i) {
      double sum = 0;
      for (int c = j; c < i; ++c)
        sum -= l[static_cast<int64_t>(i) * d + c] * inverse[static_cast<int64_t>(c) * d + j];
      inverse[static_cast<int64_t>(i) * d + j] = sum / l[static_cast<int64_t>(i) * d + i];
    }
  }
  return {inverse.begin(), inverse.end()};
}

class Cap : public PeriodicScorer {
 public:
  explicit Cap(const ScorerContext& context)
      : shape_(context.shape),
        tau_(context.values.real("tau")),
        future_(static_cast<int>(context.values.integer("future"))),
        cosine_(context.values.text("cosine") == "yes"),
        relative_(context.relative) {}

  bool query_moments() const override { return true; }

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    const int64_t open =
        std::lower_bound(view.positions.begin(), view.positions.end(), view.sinks) - view.positions.begin();
    const int64_t count = live - open;
    const float* v = view.v + open * shape_.head_dim;
    std::vector<double> total(static_cast<size_t>(count));
    for (int g = 0; g < shape_.group(); ++g) {
      const std::vector<double> weights = agreement(view, g, view.k + open * shape_.head_dim, count);
      const std::vector<double> leverage = leverages(weights, v);
      for (int64_t i = 0; i < count; ++i) total[i] += weights[i] * leverage[i] / shape_.group();
    }
    double sum = 0;
    for (const double score : total) sum += score;
    const double scale = relative_ && sum > 0 ? static_cast<double>(count) / sum : 1.0;
    std::fill(out, out + open, std::numeric_limits<float>::infinity());
    for (int64_t i = 0; i < count; ++i) out[open + i] = static_cast<float>(total[i] * scale);
  }

 private:
  // exp(tau cos(k_j, mu)), relative to the largest; 1 before any query was seen.
  std::vector<double> agreement(const PeriodicView& view, int g, const float* k, int64_t count) const {
    std::vector<double> weights(static_cast<size_t>(count), 1.0);
    if (view.queries->counted() == 0 || count == 0) return weights;
    const int d = shape_.head_dim;
    const std::vector<float> mu = mean_query(view, g);
    const double length = cosine_ ? std::max(l2_norm(mu.data(), d), 1e-12f) : 1.0;
    std::vector<float> dot(static_cast<size_t>(count));
    dots(mu.data(), k, count, d, dot.data());
    for (int64_t i = 0; i < count; ++i) {
      const double key = cosine_ ? std::max(l2_norm(k + i * d, d), 1e-12f) : 1.0;
      weights[i] = tau_ * dot[i] / (length * key);
    }
    const double most = *std::max_element(weights.begin(), weights.end());
    for (double& w : weights) w = std::exp(w - most);
    return weights;
  }

  std::vector<float> mean_query(const PeriodicView& view, int g) const {
    const double* sum = view.queries->sum(g);
    std::vector<double> mu(sum, sum + shape_.head_dim);
    for (double& m : mu) m /= static_cast<double>(view.queries->counted());
    mean_rotation(shape_.rotary_of(view.layer).at(view.n), view.n, future_).apply(mu.data(), 1);
    return {mu.begin(), mu.end()};
  }

  // v_j^T A^-1 v_j = ||L^-1 v_j||^2 with A = L L^T: a sum of squares, which loses no digits to cancellation.
  std::vector<double> leverages(const std::vector<double>& weights, const float* v) const {
    const int d = shape_.head_dim;
    std::vector<double> a = capacity(weights, v);
    cholesky(a, d);
    const std::vector<float> whitening = inverse_of_triangle(a, d);
    const auto count = static_cast<int64_t>(weights.size());
    std::vector<double> leverage(weights.size());
    std::vector<float> whitened(weights.size());
    for (int c = 0; c < d; ++c) {
      dots(whitening.data() + static_cast<int64_t>(c) * d, v, count, d, whitened.data());
      for (int64_t i = 0; i < count; ++i) leverage[i] += static_cast<double>(whitened[i]) * whitened[i];
    }
    return leverage;
  }

  // The lower triangle of A: [d][d].
  std::vector<double> capacity(const std::vector<double>& weights, const float* v) const {
    const int d = shape_.head_dim;
    const auto count = static_cast<int64_t>(weights.size());
    std::vector<double> a(static_cast<size_t>(d) * d), sums(d), rows(static_cast<size_t>(kRows) * d);
    for (int64_t first = 0; first < count; first += kRows) {
      const auto some = static_cast<int>(std::min<int64_t>(kRows, count - first));
      for (int r = 0; r < some; ++r) {
        const double root = std::sqrt(weights[first + r] + kLeastWeight);
        for (int c = 0; c < d; ++c) rows[static_cast<size_t>(r) * d + c] = root * v[(first + r) * d + c];
      }
      add_moments(rows.data(), some, d, sums.data(), a.data());
    }
    for (int c = 0; c < d; ++c) a[static_cast<size_t>(c) * d + c] += 1;
    return a;
  }

  ModelShape shape_;
  double tau_;
  int future_;
  bool cosine_, relative_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "cap";
  info.title = "CapKV";
  info.paper = "Rethinking KV Cache Eviction via a Unified Information-Theoretic Objective, arXiv:2604.25975";
  info.summary = "keeps what the span of the attended values would lose most without";
  info.formula = "score_j = mean over the group of w_j v_j^T A^-1 v_j, w_j = exp(tau cos(k_j, mu))";
  info.kind = ScorerKind::kPeriodic;
  info.sinks = 4;
  info.context_sinks = 4;
  info.fields = {
      real_field("tau", 5.0, 0, 1000, "sharpness of the agreement with the queries"),
      int_field("future", int64_t{512}, 1, 1 << 20, "future positions the queries are expected at"),
      name_field("cosine", std::string("yes"), {"yes", "no"}, "take keys and queries at length 1")};
  info.create = [](const ScorerContext& context) { return std::make_unique<Cap>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_cap;
const ScorerInfo kScorerInfo_cap = describe();

}  // namespace kvlab
