// Wrappers that change the entries that stay, against plain transcriptions of their rules.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/elementwise.h"
#include "kernels/rotary_table.h"
#include "methods/acting_heads.h"

namespace kvlab {
namespace {

using testing::make_wrapper;
using testing::TestHead;
using testing::TestLayer;

constexpr int kTokens = 60, kDim = 8;

ModelShape shape(RotaryFrequencies rotary = {1.0, 0.3, 0.05, 0.01}) {
  return {1, 24, 4, 2, kDim, std::move(rotary)};
}

// Those of a third of the positions go, not the same in both heads.
void evict_some(TestLayer& layer) {
  for (size_t h = 0; h < layer.heads.size(); ++h) {
    for (size_t i = 0; i < kTokens; ++i) layer.heads[h].stays[i] = mix64(i * 2 + h) % 3 != 0;
  }
}

double length(const std::vector<float>& rows, size_t index) {
  double sum = 0;
  for (size_t i = 0; i < kDim; ++i)
    sum += static_cast<double>(rows[index * kDim + i]) * rows[index * kDim + i];
  return std::sqrt(sum);
}

double cosine(const std::vector<float>& rows, size_t a, size_t b) {
  double sum = 0;
  for (size_t i = 0; i < kDim; ++i) sum += static_cast<double>(rows[a * kDim + i]) * rows[b * kDim + i];
  return sum / (length(rows, a) * length(rows, b));
}

void turn(const RotaryFrequencies& frequencies, int64_t position, float* key) {
  const RotaryTable table(frequencies, position, 1);
  rotate_half_split(key, table.cos_row(0), table.sin_row(0), 2 * table.pairs);
}

// A key turned to its old position and then to its new one is the unrotated key turned to the new one.
void expect_renumbered(const RotaryFrequencies& frequencies) {
  TestLayer layer(shape(frequencies), kTokens, 20, 1);
  evict_some(layer);
  std::vector<std::vector<float>> wanted;
  for (TestHead& head : layer.heads) {
    wanted.push_back(head.k);
    int64_t next = 0;
    for (size_t i = 0; i < kTokens; ++i) {
      turn(frequencies, static_cast<int64_t>(i), head.k.data() + i * kDim);
      if (head.stays[i]) {
        turn(frequencies, next++, wanted.back().data() + i * kDim);
      } else {
        std::copy_n(head.k.data() + i * kDim, kDim, wanted.back().data() + i * kDim);
      }
    }
  }
  const std::vector<float> values = layer.heads[0].v;
  make_wrapper("rerotate")->revise(layer.unit);
  for (size_t h = 0; h < 2; ++h) {
    for (size_t i = 0; i < wanted[h].size(); ++i)
      ASSERT_NEAR(layer.heads[h].k[i], wanted[h][i], 2e-6) << "head " << h << ", entry " << i / kDim;
  }
  EXPECT_EQ(layer.heads[0].v, values);
}

TEST(RerotateTest, KeysLieAtTheirNewPositions) {
  expect_renumbered({1.0, 0.3, 0.05, 0.01});
}

TEST(RerotateTest, UnrotatedDimensionsStayAsTheyAre) {
  expect_renumbered({1.0, 0.05});
}

TEST(RerotateTest, UnderDynamicScalingTheNewPositionsFrequenciesHold) {
  expect_renumbered(RotaryFrequencies::dynamic(100, kDim, 2.0, 20));
}

TEST(RerotateTest, WhatIsAtItsPlaceIsNotTouched) {
  TestLayer layer(shape(), kTokens, 20, 2);
  for (size_t i = 30; i < kTokens; ++i) layer.heads[0].stays[i] = 0;
  const std::vector<float> keys = layer.heads[0].k;
  make_wrapper("rerotate")->revise(layer.unit);
  EXPECT_EQ(layer.heads[0].k, keys);
  EXPECT_EQ(std::count(layer.heads[0].changed.begin(), layer.heads[0].changed.end(), 1), 0);
}

struct PlainMerge {
  double similarity = 0;
  std::set<size_t> merged;  // entries that go and are taken in

  // The values after the merge; entries that are not merged only go.
  std::vector<double> values(const TestHead& head) {
    std::vector<double> sums(head.v.begin(), head.v.end()), weights(kTokens, 1.0);
    for (size_t e = 0; e < kTokens; ++e) {
      if (head.stays[e]) continue;
      size_t target = kTokens;
      for (size_t t = 0; t < kTokens; ++t) {
        if (head.stays[t] && (target == kTokens || cosine(head.k, e, t) > cosine(head.k, e, target)))
          target = t;
      }
      const double sim = cosine(head.k, e, target);
      if (sim < similarity || sim <= 0) continue;
      merged.insert(e);
      const double w = sim * length(head.v, e) / (length(head.v, e) + length(head.v, target) + 1e-6);
      weights[target] += w;
      for (size_t i = 0; i < kDim; ++i) sums[target * kDim + i] += w * head.v[e * kDim + i];
    }
    for (size_t i = 0; i < sums.size(); ++i) sums[i] /= weights[i / kDim];
    return sums;
  }
};

TEST(MergeTest, ValuesGoToTheMostSimilarKey) {
  for (const double similarity : {0.0, 0.8}) {
    TestLayer layer(shape(), kTokens, 20, 3);
    evict_some(layer);
    PlainMerge plain{similarity, {}};
    const std::vector<double> wanted = plain.values(layer.heads[1]);
    const std::vector<float> keys = layer.heads[1].k, before = layer.heads[1].v;
    make_wrapper("merge", {{"similarity", similarity}})->revise(layer.unit);
    const TestHead& head = layer.heads[1];
    for (size_t i = 0; i < wanted.size(); ++i)
      ASSERT_NEAR(head.v[i], wanted[i], 1e-5) << "entry " << i / kDim;
    EXPECT_EQ(head.k, keys);
    EXPECT_GT(plain.merged.size(), 3u);
    for (size_t i = 0; i < kTokens; ++i) {
      const bool same =
          std::equal(before.begin() + i * kDim, before.begin() + (i + 1) * kDim, head.v.begin() + i * kDim);
      EXPECT_EQ(head.changed[i] == 0, same) << i;
    }
  }
}

TEST(MergeTest, AFractionTakesTheMostSimilarOnly) {
  TestLayer all(shape(), kTokens, 20, 4), half(shape(), kTokens, 20, 4);
  evict_some(all);
  evict_some(half);
  PlainMerge any{-1, {}};
  any.values(all.heads[0]);
  std::vector<double> similarities;
  for (size_t e = 0; e < kTokens; ++e) {
    if (all.heads[0].stays[e]) continue;
    double best = -1;
    for (size_t t = 0; t < kTokens; ++t)
      if (all.heads[0].stays[t]) best = std::max(best, cosine(all.heads[0].k, e, t));
    similarities.push_back(best);
  }
  std::sort(similarities.begin(), similarities.end());
  const double at = 0.5 * static_cast<double>(similarities.size() - 1);
  const auto below = static_cast<size_t>(at);
  const double cut = similarities[below] +
                     (at - std::floor(at)) *
                         (similarities[std::min(below + 1, similarities.size() - 1)] - similarities[below]);
  PlainMerge best{cut, {}};
  const std::vector<double> wanted = best.values(half.heads[0]);
  EXPECT_LT(best.merged.size(), any.merged.size());
  make_wrapper("merge", {{"fraction", 0.5}})->revise(half.unit);
  for (size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(half.heads[0].v[i], wanted[i], 1e-5) << i / kDim;
}

// What the entries after e take over with the given draw.
std::vector<double> plain_cam(const TestHead& head, int h, uint64_t seed, uint64_t document,
                              size_t neighbours) {
  std::vector<double> values(head.v.begin(), head.v.end());
  for (size_t e = 0; e < kTokens; ++e) {
    if (head.stays[e]) continue;
    std::vector<size_t> window;
    for (size_t j = e + 1; j < kTokens && window.size() < neighbours; ++j)
      if (head.stays[j]) window.push_back(j);
    if (window.empty()) continue;
    double mean = 0;
    for (const size_t j : window) mean += head.given[j] / static_cast<double>(window.size());
    if (entry_uniform(seed, document, 0, static_cast<uint64_t>(h), e) >= std::min(1.0, head.given[e] / mean))
      continue;
    for (const size_t j : window) {
      for (size_t i = 0; i < kDim; ++i)
        values[j * kDim + i] += head.v[e * kDim + i] / static_cast<double>(window.size());
    }
  }
  return values;
}

TEST(CamTest, SpreadsValuesOverTheNextThatStay) {
  std::set<std::vector<float>> different;
  for (const int64_t seed : {0, 1, 2}) {
    for (const uint64_t document : {0, 7}) {
      TestLayer layer(shape(), kTokens, 20, 5);
      evict_some(layer);
      layer.unit.document = document;
      const std::vector<float> keys = layer.heads[1].k;
      const auto wanted = plain_cam(layer.heads[1], 1, static_cast<uint64_t>(seed), document, 6);
      for (float& score : layer.heads[1].scores)
        score = -score;  // by what the scorer said, not what was made of it
      make_wrapper("cam", {{"neighbours", int64_t{6}}, {"seed", seed}})->revise(layer.unit);
      for (size_t i = 0; i < wanted.size(); ++i)
        ASSERT_NEAR(layer.heads[1].v[i], wanted[i], 1e-5) << i / kDim;
      EXPECT_EQ(layer.heads[1].k, keys);
      different.insert(layer.heads[1].v);
    }
  }
  EXPECT_EQ(different.size(), 6u) << "seeds and documents have draws of their own";
}

TEST(CamTest, WhatHadNoAttentionIsNotMergedAndWhatHadAllOfItIs) {
  for (const bool all : {false, true}) {
    TestLayer layer(shape(), kTokens, 20, 6);
    evict_some(layer);
    for (TestHead& head : layer.heads) {
      for (size_t i = 0; i < kTokens; ++i)
        head.given[i] = static_cast<bool>(head.stays[i]) == all ? 0.0f : 1.0f;
    }
    const std::vector<float> before = layer.heads[0].v;
    const auto wanted = plain_cam(layer.heads[0], 0, 0, 0, 32);
    make_wrapper("cam")->revise(layer.unit);
    EXPECT_EQ(layer.heads[0].v == before, !all);
    for (size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(layer.heads[0].v[i], wanted[i], 1e-5);
  }
}

TEST(CamTest, EntriesThatStayInAnyCaseDoNotCountInTheMean) {
  TestLayer layer(shape(), kTokens, 20, 7);
  TestHead& head = layer.heads[0];
  head.stays[3] = 0;
  std::fill(head.given.begin(), head.given.end(), std::numeric_limits<float>::infinity());
  head.given[3] = head.given[4] = 1;
  make_wrapper("cam")->revise(layer.unit);
  EXPECT_EQ(std::count(head.changed.begin(), head.changed.end(), 1), 32) << "its share of the mean is 1";
}

}  // namespace
}  // namespace kvlab
