// Wrappers that change scores and limits, against plain transcriptions of their rules.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "methods/acting_heads.h"

namespace kvlab {
namespace {

using testing::make_wrapper;
using testing::TestHead;
using testing::TestLayer;

constexpr int kTokens = 70;
constexpr float kMost = std::numeric_limits<float>::max();

ModelShape shape() {
  return {1, 24, 6, 2, 8, {1.0, 0.3, 0.05, 0.01}};
}

// mean over the group of |v_t W_g|_1, in double.
std::vector<double> plain_norms(const TestLayer& layer, int h) {
  const ModelShape& s = layer.shape;
  std::vector<double> norms;
  for (int t = 0; t < kTokens; ++t) {
    double sum = 0;
    for (int g = 0; g < s.group(); ++g) {
      for (int o = 0; o < s.hidden; ++o) {
        double product = 0;
        for (int i = 0; i < s.head_dim; ++i) {
          const size_t row = static_cast<size_t>((h * s.group() + g) * s.head_dim + i);
          product +=
              static_cast<double>(layer.heads[h].v[t * s.head_dim + i]) * layer.output[row * s.hidden + o];
        }
        sum += std::abs(product);
      }
    }
    norms.push_back(sum / s.group());
  }
  return norms;
}

// The positions of the `count` highest scores.
std::vector<int32_t> top(const std::vector<double>& scores, int64_t count) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

TEST(CriticalKvTest, HalfGoesByScoreAndHalfByScoreTimesOutput) {
  TestLayer layer(shape(), kTokens, 21, 1);
  std::vector<std::set<int32_t>> wanted;
  for (int h = 0; h < 2; ++h) {
    std::vector<double> scores = doubles(layer.heads[h].scores);
    const std::vector<int32_t> first = top(scores, 10);
    const std::vector<double> norms = plain_norms(layer, h);
    for (int t = 0; t < kTokens; ++t) scores[t] = (scores[t] + 1e-4) * norms[t];
    for (const int32_t t : first) scores[t] = kMost;
    const std::vector<int32_t> all = top(scores, 21);
    wanted.emplace_back(all.begin(), all.end());
  }
  const auto before = layer.kept(0);
  make_wrapper("criticalkv")->adjust(layer.unit);
  for (int h = 0; h < 2; ++h) EXPECT_EQ(layer.kept(h), wanted[h]);
  EXPECT_NE(layer.kept(0), before) << "the test means little where the output changes nothing";
}

TEST(CriticalKvTest, ItsScoresAreThoseOfThePlainProducts) {
  TestLayer layer(shape(), kTokens, 20, 2);
  const std::vector<float> scores = layer.heads[1].scores;
  const std::vector<double> norms = plain_norms(layer, 1);
  make_wrapper("criticalkv", {{"first_stage", 0.0}, {"epsilon", 0.5}})->adjust(layer.unit);
  for (int t = 0; t < kTokens; ++t)
    EXPECT_NEAR(layer.heads[1].scores[t], (scores[t] + 0.5) * norms[t], 1e-4 * norms[t]) << t;
}

TEST(CriticalKvTest, ProtectedEntriesCountInTheFirstStage) {
  TestLayer layer(shape(), kTokens, 20, 3);
  layer.protect(4, 6);
  make_wrapper("criticalkv")->adjust(layer.unit);
  for (int t = 0; t < kTokens; ++t) {
    const bool infinite = std::isinf(layer.heads[0].scores[t]);
    EXPECT_EQ(infinite, t < 4 || t >= kTokens - 6) << "the ten of the first stage are the protected ones";
  }
}

// kvpress's CriticalAdaKV, step by step.
TEST(CriticalKvTest, AroundAdaKvItIsCriticalAdaKv) {
  for (const double safeguard : {0.0, 0.2, 0.8}) {
    SCOPED_TRACE(safeguard);
    constexpr int64_t kKept = 21;
    TestLayer layer(shape(), kTokens, kKept, 4);
    for (float& score : layer.heads[1].scores) score *= 0.4f;  // so that heads get different shares
    std::vector<std::vector<double>> scores;
    const auto safe = static_cast<int64_t>(kKept * safeguard);
    for (const TestHead& head : layer.heads) {
      scores.push_back(doubles(head.scores));
      for (const int32_t t : top(scores.back(), safe)) scores.back()[t] = kMost;
    }
    std::vector<double> flat;
    for (const auto& own : scores) flat.insert(flat.end(), own.begin(), own.end());
    std::vector<int64_t> budgets(2);
    for (const int32_t i : top(flat, 2 * kKept)) ++budgets[i / kTokens];
    make_wrapper("adakv", {{"safeguard", safeguard}})->adjust(layer.unit);
    for (ActingHead& view : layer.views)
      view.exact_limit = static_cast<double>(view.limit);  // as the cache does
    make_wrapper("criticalkv")->adjust(layer.unit);
    for (int h = 0; h < 2; ++h) {
      EXPECT_EQ(layer.views[h].limit, budgets[h]);
      std::vector<double>& own = scores[h];
      const std::vector<int32_t> first = top(own, budgets[h] / 2);
      const std::vector<double> norms = plain_norms(layer, h);
      for (int t = 0; t < kTokens; ++t) own[t] = (own[t] + 1e-4) * norms[t];
      for (const int32_t t : first) own[t] = std::numeric_limits<double>::infinity();
      const std::vector<int32_t> kept = top(own, budgets[h]);
      EXPECT_EQ(layer.kept(h), std::set<int32_t>(kept.begin(), kept.end()));
    }
    EXPECT_NE(budgets[0], budgets[1]);
  }
}

TEST(AdaKvTest, TheBestOfTheLayerStay) {
  TestLayer layer(shape(), kTokens, 20, 5);
  for (float& score : layer.heads[0].scores) score *= 0.1f;
  std::vector<double> flat = doubles(layer.heads[0].scores);
  for (const int32_t t : top(flat, 4)) flat[t] = kMost;
  std::vector<double> other = doubles(layer.heads[1].scores);
  for (const int32_t t : top(other, 4)) other[t] = kMost;
  flat.insert(flat.end(), other.begin(), other.end());
  std::set<int32_t> wanted[2];
  for (const int32_t i : top(flat, 40)) wanted[i / kTokens].insert(i % kTokens);
  make_wrapper("adakv")->adjust(layer.unit);
  EXPECT_EQ(layer.kept(0), wanted[0]);
  EXPECT_EQ(layer.kept(1), wanted[1]);
  EXPECT_EQ(layer.views[0].limit + layer.views[1].limit, 40);
  EXPECT_GE(layer.views[0].limit, 4);
}

TEST(ChunkKvTest, WholeChunksStayInAllHeads) {
  TestLayer layer(shape(), kTokens, 35, 6);
  std::vector<double> means;  // of chunks of 8, the last one of 6
  for (int begin = 0; begin < kTokens; begin += 8) {
    const int end = std::min(begin + 8, kTokens);
    double sum = 0;
    for (int t = begin; t < end; ++t) sum += layer.heads[0].scores[t] + layer.heads[1].scores[t];
    means.push_back(sum / (end - begin));
  }
  std::set<int32_t> wanted;
  for (const int32_t chunk : top(means, 4)) {
    for (int t = chunk * 8; t < std::min(chunk * 8 + 8, kTokens); ++t) wanted.insert(t);
  }
  make_wrapper("chunkkv", {{"chunk", int64_t{8}}})->adjust(layer.unit);
  EXPECT_EQ(layer.kept(0), wanted);
  EXPECT_EQ(layer.kept(1), wanted);
}

TEST(ChunkedTest, EachChunkKeepsItsOwnBest) {
  TestLayer layer(shape(), kTokens, 23, 7);  // a third
  for (int t = 0; t < 20; ++t) layer.heads[0].scores[t] *= 0.001f;
  std::set<int32_t> wanted;
  for (int begin = 0; begin < kTokens; begin += 16) {
    const int length = std::min(16, kTokens - begin);
    const std::vector<double> own(layer.heads[0].scores.begin() + begin,
                                  layer.heads[0].scores.begin() + begin + length);
    for (const int32_t t : top(own, length * 23 / kTokens)) wanted.insert(begin + t);
  }
  make_wrapper("chunked", {{"chunk", int64_t{16}}})->adjust(layer.unit);
  EXPECT_EQ(layer.views[0].limit, static_cast<int64_t>(wanted.size()));
  EXPECT_EQ(layer.kept(0), wanted);
}

TEST(ChunkedTest, ProtectedEntriesStayBeyondTheirChunksShare) {
  TestLayer layer(shape(), kTokens, 14, 8);
  layer.protect(6, 0);
  make_wrapper("chunked", {{"chunk", int64_t{10}}})->adjust(layer.unit);
  const auto kept = layer.kept(0);
  EXPECT_EQ(std::count_if(kept.begin(), kept.end(), [](int32_t p) { return p < 10; }), 6);
  EXPECT_EQ(std::count_if(kept.begin(), kept.end(), [](int32_t p) { return p >= 10; }), 12)
      << "two of each ten";
}

// The shares of a pyramid are its formula's; where it does not fit all layers get the same.
TEST(PyramidKvTest, SharesFallLinearly) {
  const auto pyramid = make_wrapper("pyramidkv");
  const auto limit = [&](int layer, double uniform, int64_t n, int64_t queries) {
    return pyramid->layer_limit({uniform, n, layer, 30, queries});
  };
  EXPECT_EQ(limit(0, 192, 384, 0), 374);  // 2 B - B / 20 = 374.4
  EXPECT_EQ(limit(29, 192, 384, 0), 10);  // B / 20 = 9.6
  int64_t sum = 0;
  for (int layer = 0; layer < 30; ++layer) sum += limit(layer, 192, 384, 0);
  EXPECT_NEAR(static_cast<double>(sum), 192 * 30, 15);
  EXPECT_EQ(limit(0, 192, 384, 64), 320);  // 384 - 64: the least is then 64
  EXPECT_EQ(limit(29, 192, 384, 64), 64);
  EXPECT_EQ(limit(0, 50.5, 384, 64), 50) << "no room for 64 queries: all alike, halves to even";
}

}  // namespace
}  // namespace kvlab
