// Periodic scorers against plain transcriptions in double precision.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "format/safetensors.h"
#include "methods/periodic_head.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using testing::softmax;
using testing::times;
using testing::Vector;
using Head = testing::PeriodicHead;

constexpr int kDim = Head::kDim, kGroup = Head::kGroup, kTokens = 40;

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

// The mean weight that the last `last` queries and the group give each entry before them.
Vector votes_of(const Head& head, int last) {
  Vector votes(head.positions.size());
  for (int g = 0; g < kGroup; ++g) {
    for (int q = kTokens - last; q < kTokens; ++q) {
      Vector weights;
      for (size_t i = 0; i < head.positions.size(); ++i) {
        weights.push_back(head.positions[i] <= q
                              ? head.dot(head.query(q, g), head.key(i)) / std::sqrt(double{kDim})
                              : -1e9);
      }
      softmax(weights);
      for (size_t i = 0; i < weights.size(); ++i) votes[i] += weights[i] / last / kGroup;
    }
  }
  while (head.positions[votes.size() - 1] >= kTokens - last) votes.pop_back();
  return votes;
}

TEST(PeriodicScorers, SnapKvIsThePooledVoteOfTheLastQueries) {
  const Head head;
  constexpr int kKernel = 5;
  const auto mean = head.score("snapkv(keep=0.5,queries=6,kernel=5)"),
             most = head.score("snapkv(keep=0.5,queries=6,kernel=5,pooling=max)");
  const Vector votes = votes_of(head, 6);
  for (int i = 0; i < static_cast<int>(votes.size()); ++i) {
    double sum = 0, largest = 0;
    for (int j = i - kKernel / 2; j <= i + kKernel / 2; ++j) {
      if (j < 0 || j >= static_cast<int>(votes.size())) continue;
      sum += votes[j];
      largest = std::max(largest, votes[j]);
    }
    EXPECT_NEAR(mean[i], sum / kKernel, 1e-6);
    EXPECT_NEAR(most[i], largest, 1e-6);
  }
  for (size_t i = votes.size(); i < mean.size(); ++i)
    EXPECT_TRUE(std::isinf(mean[i]) && std::isinf(most[i])) << "a voter's own entry";
}

// The mean over the group of the weights that a scorer's queries are expected to give the entries from `open`
// on. queries: samples per query head, equally likely, before rotary.
Vector expected_weights(const Head& head, size_t open, const std::vector<std::vector<Vector>>& queries) {
  const auto rotation = head.mean_rotation(512);
  Vector probability(head.positions.size() - open);
  for (const std::vector<Vector>& samples : queries) {
    Vector z;
    for (size_t i = open; i < head.positions.size(); ++i) {
      // k.mu and k^T Sigma k are the mean and the variance of k.x, x = R q.
      double mean = 0, square = 0;
      for (const Vector& q : samples) {
        const Vector x = times(rotation, q);
        const double dot = std::inner_product(x.begin(), x.end(), head.key(i), 0.0);
        mean += dot / static_cast<double>(samples.size());
        square += dot * dot / static_cast<double>(samples.size());
      }
      z.push_back(mean / std::sqrt(double{kDim}) + (square - mean * mean) / (2 * kDim));
    }
    softmax(z);
    for (size_t i = 0; i < z.size(); ++i) probability[i] += z[i] / kGroup;
  }
  return probability;
}

TEST(PeriodicScorers, ExpectedAttentionTakesFutureQueriesAsNormal) {
  const Head head;
  constexpr int kSinks = 4;
  const size_t open = head.open(kSinks);
  std::vector<std::vector<Vector>> queries(kGroup);
  for (int g = 0; g < kGroup; ++g) {
    for (int j = kSinks; j < kTokens; ++j) queries[g].push_back(head.plain_query(j, g));
  }
  const Vector probability = expected_weights(head, open, queries);
  const auto scores = head.score("expected_attention(keep=0.5)");
  const auto relative = head.score("expected_attention(threshold=1)");
  double lengths = 0;
  for (size_t i = open; i < head.positions.size(); ++i) lengths += head.length(head.value(i));
  const auto count = static_cast<double>(probability.size());
  for (size_t i = 0; i < probability.size(); ++i) {
    const double expected = probability[i] * head.length(head.value(i + open));
    EXPECT_NEAR(scores[i + open], expected, 1e-4 * expected + 1e-7);
    EXPECT_NEAR(relative[i + open], expected * count / (lengths / count), 1e-3);
  }
  for (size_t i = 0; i < open; ++i) EXPECT_TRUE(std::isinf(scores[i])) << "a sink";
}

// Statistics of a layer with two query heads, as a file.
struct StatisticsFile {
  testing::TempFolder folder;
  std::string path = (folder.path() / "statistics.safetensors").string();
  std::vector<std::vector<Vector>> samples;  // [query head]: queries of which the file has the moments

  StatisticsFile() {
    std::mt19937 generator(11);
    std::normal_distribution<double> normal;
    NamedTensor mean{"query_mean", {1, kGroup, kDim}, {}}, cov{"query_cov", {1, kGroup, kDim, kDim}, {}};
    for (int g = 0; g < kGroup; ++g) {
      std::vector<Vector>& own = samples.emplace_back(20, Vector(kDim));
      Vector mu(kDim);
      for (Vector& q : own) {
        for (int c = 0; c < kDim; ++c) mu[c] += (q[c] = normal(generator) + 0.3 * c) / 20;
      }
      for (int a = 0; a < kDim; ++a) {
        mean.values.push_back(static_cast<float>(mu[a]));
        for (int b = 0; b < kDim; ++b) {
          double sum = 0;
          for (const Vector& q : own) sum += (q[a] - mu[a]) * (q[b] - mu[b]) / 20;
          cov.values.push_back(static_cast<float>(sum));
        }
      }
    }
    write_safetensors(path, {mean, cov});
  }
};

TEST(PeriodicScorers, ExpectedAttentionTakesStatisticsFromAFile) {
  const Head head;
  const StatisticsFile file;
  const size_t open = head.open(4);
  const Vector probability = expected_weights(head, open, file.samples);
  const auto scores = head.score("expected_attention(keep=0.5,vnorm=no,statistics=\"" + file.path + "\")");
  for (size_t i = 0; i < probability.size(); ++i)
    EXPECT_NEAR(scores[i + open], probability[i], 1e-4 * probability[i] + 1e-7);
}

TEST(PeriodicScorers, StatisticsOfAnotherModelAreRefused) {
  const StatisticsFile file;
  ModelShape larger = Head::shape();
  larger.layers = 2;
  try {
    make_method(resolve_recipe("expected_attention(keep=0.5,statistics=\"" + file.path + "\")", {}), larger);
    FAIL() << "taken";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("query_mean has shape [1, 2, 8], the model needs [2, 2, 8]"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace kvlab
