// CapKV against a plain transcription.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "methods/periodic_head.h"

namespace kvlab {
namespace {

using testing::times;
using testing::Vector;
using Head = testing::PeriodicHead;

constexpr int kDim = Head::kDim, kGroup = Head::kGroup, kSinks = 4;

// x with A x = b, by elimination with pivots.
Vector solve(std::vector<Vector> a, Vector b) {
  const size_t n = b.size();
  for (size_t c = 0; c < n; ++c) {
    size_t pivot = c;
    for (size_t r = c; r < n; ++r) {
      if (std::abs(a[r][c]) > std::abs(a[pivot][c])) pivot = r;
    }
    std::swap(a[c], a[pivot]);
    std::swap(b[c], b[pivot]);
    for (size_t r = 0; r < n; ++r) {
      if (r == c) continue;
      const double factor = a[r][c] / a[c][c];
      for (size_t i = c; i < n; ++i) a[r][i] -= factor * a[c][i];
      b[r] -= factor * b[c];
    }
  }
  for (size_t c = 0; c < n; ++c) b[c] /= a[c][c];
  return b;
}

Vector weights_of(const Head& head, int g, double tau, bool cosine) {
  Vector mu(kDim), weights;
  for (int j = kSinks; j < head.tokens; ++j) {
    const Vector q = head.plain_query(j, g);
    for (int c = 0; c < kDim; ++c) mu[c] += q[c] / (head.tokens - kSinks);
  }
  mu = times(head.mean_rotation(512), mu);
  const double length = std::sqrt(std::inner_product(mu.begin(), mu.end(), mu.begin(), 0.0));
  for (size_t i = head.open(kSinks); i < head.positions.size(); ++i) {
    const double dot = std::inner_product(mu.begin(), mu.end(), head.key(i), 0.0);
    weights.push_back(tau * (cosine ? dot / length / head.length(head.key(i)) : dot));
  }
  const double most = *std::max_element(weights.begin(), weights.end());
  for (double& w : weights) w = std::exp(w - most);
  return weights;
}

Vector expected_scores(const Head& head, double tau, bool cosine) {
  const size_t open = head.open(kSinks);
  Vector scores(head.positions.size() - open);
  for (int g = 0; g < kGroup; ++g) {
    const Vector weights = weights_of(head, g, tau, cosine);
    std::vector<Vector> capacity(kDim, Vector(kDim));
    for (int a = 0; a < kDim; ++a) {
      capacity[a][a] = 1;
      for (size_t i = 0; i < weights.size(); ++i) {
        const float* v = head.value(open + i);
        for (int b = 0; b < kDim; ++b) capacity[a][b] += (weights[i] + 1e-6) * v[a] * v[b];
      }
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      const float* v = head.value(open + i);
      const Vector x = solve(capacity, Vector(v, v + kDim));
      scores[i] += weights[i] * std::inner_product(x.begin(), x.end(), v, 0.0) / kGroup;
    }
  }
  return scores;
}

TEST(Cap, ScoresAreWeightedLeverages) {
  const Head head(150, {5, 6, 17, 30});  // more values than are weighted at a time
  const size_t open = head.open(kSinks);
  for (const bool cosine : {true, false}) {
    const Vector expected = expected_scores(head, cosine ? 5 : 0.5, cosine);
    const auto scores = head.score(cosine ? "cap(keep=0.5)" : "cap(keep=0.5,tau=0.5,cosine=no)");
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(scores[open + i], expected[i], 1e-4 * expected[i]) << i;
    for (size_t i = 0; i < open; ++i) EXPECT_TRUE(std::isinf(scores[i])) << "a sink";
  }
}

TEST(Cap, ThresholdsCompareWithTheMean) {
  const Head head;
  const auto scores = head.score("cap(threshold=1)"), plain = head.score("cap(keep=0.5)");
  double sum = 0;
  for (size_t i = kSinks; i < scores.size(); ++i) sum += scores[i];
  EXPECT_NEAR(sum / static_cast<double>(scores.size() - kSinks), 1, 1e-5);
  EXPECT_NEAR(scores[9] / scores[20], plain[9] / plain[20], 1e-5);
}

TEST(Cap, SinksAloneNeedNoQueries) {
  const Head head(4, {});
  const auto scores = head.score("cap(keep=0.5,sinks=4)");
  for (const float score : scores) EXPECT_TRUE(std::isinf(score));
}

}  // namespace
}  // namespace kvlab
