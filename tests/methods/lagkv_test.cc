// LagKV against a plain transcription.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "methods/periodic_head.h"

namespace kvlab {
namespace {

using testing::softmax;
using testing::Vector;
using Head = testing::PeriodicHead;

constexpr int kDim = Head::kDim, kLag = 8, kSinks = 4;

// The spread of row t's channels within the ranges of rows [next, next + kLag).
double spread(const std::vector<float>& x, size_t t, size_t next) {
  Vector scaled(kDim);
  double mean = 0, squares = 0;
  for (int c = 0; c < kDim; ++c) {
    double least = x[next * kDim + c], most = least;
    for (size_t r = next; r < next + kLag; ++r) {
      least = std::min<double>(least, x[r * kDim + c]);
      most = std::max<double>(most, x[r * kDim + c]);
    }
    scaled[c] = (x[t * kDim + c] - least) / (most - least);
    mean += scaled[c] / kDim;
  }
  for (const double s : scaled) squares += (s - mean) * (s - mean);
  return std::sqrt(squares / (kDim - 1));
}

// The mean of both softmaxes over the partition that begins at live entry `first`.
Vector partition_scores(const Head& head, size_t first) {
  Vector keys, values;
  for (size_t t = first; t < first + kLag; ++t) {
    keys.push_back(spread(head.k, t, first + kLag));
    values.push_back(spread(head.v, t, first + kLag));
  }
  softmax(keys);
  softmax(values);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = (keys[i] + values[i]) / 2;
  return keys;
}

TEST(LagKv, RanksAreWithinPartitionsOfLiveEntries) {
  const Head head;  // 36 live entries, 4 of them sinks: 4 partitions of 8
  const auto ranks = head.score("lagkv(keep=0.5,lag=8)"),
             softmaxes = head.score("lagkv(keep=0.5,lag=8,cross_scoring=yes)");
  for (size_t first = kSinks; first < kSinks + 3 * kLag; first += kLag) {
    const Vector expected = partition_scores(head, first);
    for (int i = 0; i < kLag; ++i) {
      const auto below =
          std::count_if(expected.begin(), expected.end(), [&](double e) { return e < expected[i]; });
      EXPECT_FLOAT_EQ(ranks[first + i], static_cast<float>(below) / kLag);
      EXPECT_NEAR(softmaxes[first + i], expected[i], 1e-6);
    }
  }
  for (size_t i = 0; i < ranks.size(); ++i)
    EXPECT_EQ(std::isinf(ranks[i]), i < kSinks || i >= kSinks + 3 * kLag) << i;
}

TEST(LagKv, WhatFollowsTheLastFullPartitionStaysWithIt) {
  const Head head(43, {});  // 39 open entries: 4 partitions and 7 entries
  const auto scores = head.score("lagkv(keep=0.5,lag=8)");
  for (size_t i = kSinks + 3 * kLag; i < scores.size(); ++i) EXPECT_TRUE(std::isinf(scores[i])) << i;
  EXPECT_FALSE(std::isinf(scores[kSinks + 3 * kLag - 1]));
}

TEST(LagKv, BelowTwoPartitionsNewerEntriesAreWorthMore) {
  const Head head;
  const auto scores = head.score("lagkv(keep=0.5,lag=17)");  // 32 open entries
  for (size_t i = kSinks; i < scores.size(); ++i)
    EXPECT_FLOAT_EQ(scores[i], static_cast<float>(i - kSinks) / 32) << i;
}

TEST(LagKv, AChannelThatIsConstantInTheNextPartitionCountsAsZero) {
  Head head(16, {});
  for (size_t i = 0; i < head.positions.size(); ++i) head.k[i * kDim + 3] = head.v[i * kDim + 3] = 2.0f;
  const auto scores = head.score("lagkv(keep=0.5,lag=8,sinks=0,cross_scoring=yes)");
  double sum = 0;
  for (int i = 0; i < kLag; ++i) sum += scores[i];
  EXPECT_NEAR(sum, 1, 1e-6) << "a NaN or infinity would show";
}

}  // namespace
}  // namespace kvlab
