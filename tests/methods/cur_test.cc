// CurDKV against a plain transcription.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "methods/periodic_head.h"

namespace kvlab {
namespace {

using testing::Vector;
using Head = testing::PeriodicHead;

constexpr int kDim = Head::kDim;

// Squared lengths of rows, as shares of blocks of `local` (0: as they are).
Vector shares(const Head& head, const std::vector<float>& x, size_t local) {
  Vector squares, result;
  for (size_t i = 0; i < head.positions.size(); ++i)
    squares.push_back(head.dot(x.data() + i * kDim, x.data() + i * kDim));
  for (size_t i = 0; i < squares.size(); ++i) {
    double sum = local ? 0 : 1;
    for (size_t j = local ? i / local * local : 0;
         local && j < std::min(squares.size(), i / local * local + local); ++j)
      sum += squares[j];
    result.push_back(squares[i] / sum);
  }
  return result;
}

void expect_scores(const std::vector<float>& scores, const Vector& expected, double total) {
  const double sum = std::accumulate(expected.begin(), expected.end(), 0.0);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(scores[i], total * expected[i] / sum, 1e-5 * total * expected[i] / sum) << i;
}

TEST(Cur, ScoresAreProductsOfSharesOfTheNeighbourhood) {
  const Head head;  // 36 live entries: blocks of 16, 16 and 4
  const Vector keys = shares(head, head.k, 16), values = shares(head, head.v, 16);
  Vector product, mean;
  for (size_t i = 0; i < keys.size(); ++i) {
    product.push_back(keys[i] * values[i]);
    mean.push_back((keys[i] + values[i]) / 2);
  }
  expect_scores(head.score("cur(keep=0.5)"), product, 1);
  expect_scores(head.score("cur(keep=0.5,leverage=kv_avg)"), mean, 1);
  expect_scores(head.score("cur(keep=0.5,leverage=key)"), keys, 1);
  expect_scores(head.score("cur(keep=0.5,leverage=value)"), values, 1);
  expect_scores(head.score("cur(threshold=1)"), product, static_cast<double>(keys.size()));
}

TEST(Cur, BlocksMayBeSmallerOrNone) {
  const Head head;
  for (const int local : {0, 5}) {
    Vector keys = shares(head, head.k, local);
    const Vector values = shares(head, head.v, local);
    for (size_t i = 0; i < keys.size(); ++i) keys[i] *= values[i];
    expect_scores(head.score("cur(keep=0.5,local=" + std::to_string(local) + ")"), keys, 1);
  }
}

// A Gaussian projection keeps squared lengths on average: with many columns scores come near to those
// without.
TEST(Cur, AProjectionOfManyColumnsKeepsLengths) {
  const Head head;
  const auto plain = head.score("cur(keep=0.5,local=0,leverage=key)"),
             wide = head.score("cur(keep=0.5,local=0,leverage=key,projection=4096)"),
             narrow = head.score("cur(keep=0.5,local=0,leverage=key,projection=20)"),
             other = head.score("cur(keep=0.5,local=0,leverage=key,projection=20,projection_seed=1)");
  double off = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_NEAR(wide[i], plain[i], 0.15 * plain[i]) << i;
    off = std::max<double>(off, std::abs(narrow[i] / plain[i] - 1));
  }
  EXPECT_GT(off, 0.15) << "20 columns are an approximation";
  EXPECT_NE(narrow, other);
  EXPECT_EQ(narrow, head.score("cur(keep=0.5,local=0,leverage=key,projection=20)"));
}

}  // namespace
}  // namespace kvlab
