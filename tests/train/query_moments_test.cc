// Moments of queries against sums by hand, and directions against known ones.
#include "train/query_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/rotary_table.h"

namespace kvlab {
namespace {

constexpr int kLayers = 2, kHeads = 4, kDim = 8, kTokens = 150, kSkipped = 4;

ModelShape shape() {
  return {kLayers, 16, kHeads, 2, kDim, {1.0, 0.3, 0.05, 0.01}};
}

// Rotated queries of one layer: [token][head][dim].
std::vector<float> queries(uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.5f);
  std::vector<float> q(static_cast<size_t>(kTokens) * kHeads * kDim);
  for (float& x : q) x = normal(generator);
  return q;
}

// A document in blocks of the given sizes.
void show(QueryMoments& moments, const std::vector<std::vector<float>>& layers,
          const std::vector<int>& blocks) {
  int64_t first = 0;
  for (const int rows : blocks) {
    for (int layer = 0; layer < kLayers; ++layer) {
      LayerBlock block;
      block.layer = layer;
      block.first = first;
      block.rows = rows;
      block.q = layers[layer].data() + first * kHeads * kDim;
      block.q_stride = int64_t{kHeads} * kDim;
      moments.see(block);
    }
    first += rows;
  }
}

TEST(QueryMoments, AreSumsOverThePositionsThatCount) {
  const std::vector<std::vector<float>> layers = {queries(1), queries(2)};
  const RotaryTable table(shape().rotary, 0, kTokens);
  for (const auto form : {QueryMoments::Form::kRotated, QueryMoments::Form::kPlain}) {
    QueryMoments moments(shape(), form, kSkipped);
    show(moments, layers, {3, 100, 47});
    show(moments, layers, {kTokens});
    EXPECT_EQ(moments.counted(), 2 * (kTokens - kSkipped));
    std::vector<double> sum(kDim), outer(kDim * kDim);
    for (int j = kSkipped; j < kTokens; ++j) {
      const float* q = layers[1].data() + (j * kHeads + 3) * kDim;
      std::vector<double> x(q, q + kDim);
      if (form == QueryMoments::Form::kPlain)
        unrotate_half_split(q, table.cos_row(j), table.sin_row(j), table.pairs, kDim, x.data());
      for (int a = 0; a < kDim; ++a) {
        sum[a] += 2 * x[a];
        for (int b = 0; b < kDim; ++b) outer[a * kDim + b] += 2 * x[a] * x[b];
      }
    }
    for (int a = 0; a < kDim; ++a) {
      EXPECT_NEAR(moments.sum(1, 3)[a], sum[a], 1e-9);
      for (int b = 0; b <= a; ++b) EXPECT_NEAR(moments.outer(1, 3)[a * kDim + b], outer[a * kDim + b], 1e-9);
    }
  }
}

TEST(LeadingDirection, IsThatOfTheLargestEigenvalueOnTheSideOfTheStart) {
  const double s = std::sqrt(0.5);
  // 9 along (s, s, 0), 4 along (s, -s, 0), 1 along the third axis; above the diagonal nothing is read.
  const std::vector<double> a = {6.5, NAN, NAN, 2.5, 6.5, NAN, 0, 0, 1};
  for (const double side : {1.0, -1.0}) {
    const auto x = leading_direction(a, std::vector<double>{side, 0, side * 0.1});
    EXPECT_NEAR(x[0], side * s, 1e-9);
    EXPECT_NEAR(x[1], side * s, 1e-9);
    EXPECT_NEAR(x[2], 0, 1e-9);
  }
}

}  // namespace
}  // namespace kvlab
