// Periodic scorers against plain transcriptions in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "cache/method.h"
#include "cache/query_memory.h"
#include "kernels/rotary_table.h"

namespace kvlab {
namespace {

using Vector = std::vector<double>;

constexpr int kDim = 8, kGroup = 2, kTokens = 40;

ModelShape shape() {
  return {1, 16, 2, 1, kDim, {1.0, 0.3, 0.05, 0.01}};
}

// A KV head after kTokens tokens, from which entries 5, 6, 17 and 30 are gone.
struct Head {
  std::vector<int32_t> positions;
  std::vector<float> k, v, queries;  // queries: [token][group][dim], rotated

  Head() {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal;
    for (int j = 0; j < kTokens; ++j) {
      for (int c = 0; c < kGroup * kDim; ++c) queries.push_back(normal(generator));
      if (j == 5 || j == 6 || j == 17 || j == 30) continue;
      positions.push_back(j);
      for (int c = 0; c < kDim; ++c) k.push_back(normal(generator) + (c == 0 ? 1.0f : 0.0f));
      for (int c = 0; c < kDim; ++c) v.push_back(normal(generator));
    }
  }
  std::vector<float> score(const std::string& recipe) const {
    const auto method = make_method(resolve_recipe(recipe, {}), shape());
    const PeriodicScorer& scorer = *method->periodic();
    QueryMemory memory(kGroup, kDim, scorer.recent_queries(), scorer.query_moments());
    const RotaryTable table(shape().rotary, 0, kTokens);
    for (int j = 0; j < kTokens; ++j) {
      memory.append(queries.data() + j * kGroup * kDim, kDim, table.cos_row(j), table.sin_row(j), table.pairs,
                    j >= method->spec.policy.sinks);
    }
    std::vector<float> out(positions.size());
    scorer.score({0, kTokens, method->spec.policy.sinks, positions, k.data(), v.data(), &memory}, out.data());
    return out;
  }
  double dot(const float* a, const float* b) const { return std::inner_product(a, a + kDim, b, 0.0); }
  const float* key(size_t i) const { return k.data() + i * kDim; }
  const float* value(size_t i) const { return v.data() + i * kDim; }
  const float* query(int j, int g) const { return queries.data() + (j * kGroup + g) * kDim; }
};

void softmax(Vector& x) {
  double sum = 0;
  for (double& e : x) sum += e = std::exp(e);
  for (double& e : x) e /= sum;
}

TEST(PeriodicScorers, KeyDiffIsMinusTheCosineWithTheMeanDirection) {
  const Head head;
  Vector mean(kDim);
  for (size_t i = 0; i < head.positions.size(); ++i) {
    const double norm = std::sqrt(head.dot(head.key(i), head.key(i)));
    for (int c = 0; c < kDim; ++c)
      mean[c] += head.key(i)[c] / norm / static_cast<double>(head.positions.size());
  }
  const double length = std::sqrt(std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0));
  const auto scores = head.score("keydiff(keep=0.5)");
  for (size_t i = 0; i < head.positions.size(); ++i) {
    const double norm = std::sqrt(head.dot(head.key(i), head.key(i)));
    const double cosine = std::inner_product(mean.begin(), mean.end(), head.key(i), 0.0) / (norm * length);
    EXPECT_NEAR(scores[i], -cosine, 1e-5);
  }
}

TEST(PeriodicScorers, SnapKvIsThePooledVoteOfTheLastQueries) {
  const Head head;
  constexpr int kQueries = 6, kKernel = 5;
  const auto scores = head.score("snapkv(keep=0.5,queries=6,kernel=5)");
  std::vector<size_t> voted;
  for (size_t i = 0; i < head.positions.size(); ++i) {
    if (head.positions[i] < kTokens - kQueries) voted.push_back(i);
  }
  Vector expected(voted.size());
  for (int g = 0; g < kGroup; ++g) {
    Vector votes(head.positions.size());
    for (int q = kTokens - kQueries; q < kTokens; ++q) {
      Vector weights;
      for (size_t i = 0; i < head.positions.size(); ++i) {
        weights.push_back(head.positions[i] <= q
                              ? head.dot(head.query(q, g), head.key(i)) / std::sqrt(double{kDim})
                              : -1e9);
      }
      softmax(weights);
      for (size_t i = 0; i < weights.size(); ++i) votes[i] += weights[i] / kQueries;
    }
    for (int i = 0; i < static_cast<int>(voted.size()); ++i) {
      for (int j = i - kKernel / 2; j <= i + kKernel / 2; ++j) {
        if (j >= 0 && j < static_cast<int>(voted.size())) expected[i] += votes[voted[j]] / kKernel / kGroup;
      }
    }
  }
  for (size_t i = 0; i < voted.size(); ++i) EXPECT_NEAR(scores[voted[i]], expected[i], 1e-6);
  for (size_t i = voted.size(); i < scores.size(); ++i)
    EXPECT_TRUE(std::isinf(scores[i])) << "a voter's own entry";
}

// The mean of the rotation matrices at the next `future` positions, entry by entry.
std::vector<Vector> mean_rotation(int future) {
  std::vector<Vector> mean(kDim, Vector(kDim));
  const Vector frequencies = shape().rotary.at(0);
  const int pairs = static_cast<int>(frequencies.size());
  for (int p = kTokens; p < kTokens + future; ++p) {
    for (int i = 0; i < pairs; ++i) {
      const double c = std::cos(p * frequencies[i]) / future, s = std::sin(p * frequencies[i]) / future;
      mean[i][i] += c;
      mean[i + pairs][i + pairs] += c;
      mean[i][i + pairs] -= s;
      mean[i + pairs][i] += s;
    }
  }
  return mean;
}

TEST(PeriodicScorers, ExpectedAttentionTakesFutureQueriesAsNormal) {
  const Head head;
  constexpr int kSinks = 4;
  const RotaryTable table(shape().rotary, 0, kTokens);
  const auto rotation = mean_rotation(512);
  size_t open = 0;
  while (head.positions[open] < kSinks) ++open;
  Vector probability(head.positions.size() - open);
  for (int g = 0; g < kGroup; ++g) {
    std::vector<Vector> x;
    for (int j = kSinks; j < kTokens; ++j) {
      Vector plain(kDim);
      unrotate_half_split(head.query(j, g), table.cos_row(j), table.sin_row(j), table.pairs, kDim,
                          plain.data());
      Vector turned(kDim);  // R x: the mean and covariance of these are R mu and R Sigma R^T
      for (int a = 0; a < kDim; ++a)
        turned[a] = std::inner_product(plain.begin(), plain.end(), rotation[a].begin(), 0.0);
      x.push_back(turned);
    }
    Vector z;
    for (size_t i = open; i < head.positions.size(); ++i) {
      // k.mu and k^T Sigma k are the mean and the variance of k.x.
      double mean = 0, square = 0;
      for (const Vector& q : x) {
        const double dot = std::inner_product(q.begin(), q.end(), head.key(i), 0.0);
        mean += dot / static_cast<double>(x.size());
        square += dot * dot / static_cast<double>(x.size());
      }
      z.push_back(mean / std::sqrt(double{kDim}) + (square - mean * mean) / (2 * kDim));
    }
    softmax(z);
    for (size_t i = 0; i < z.size(); ++i) probability[i] += z[i] / kGroup;
  }
  const auto scores = head.score("expected_attention(keep=0.5)");
  const auto relative = head.score("expected_attention(threshold=1)");
  double lengths = 0;
  for (size_t i = open; i < head.positions.size(); ++i)
    lengths += std::sqrt(head.dot(head.value(i), head.value(i)));
  const auto count = static_cast<double>(probability.size());
  for (size_t i = 0; i < probability.size(); ++i) {
    const double expected = probability[i] * std::sqrt(head.dot(head.value(i + open), head.value(i + open)));
    EXPECT_NEAR(scores[i + open], expected, 1e-4 * expected + 1e-7);
    EXPECT_NEAR(relative[i + open], expected * count / (lengths / count), 1e-3);
  }
  for (size_t i = 0; i < open; ++i) EXPECT_TRUE(std::isinf(scores[i])) << "a sink";
}

}  // namespace
}  // namespace kvlab
