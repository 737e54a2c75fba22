// The memory of past queries: the last ones, and the moments of those that count, however tokens are cut.
#include "cache/query_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/every_level.h"
#include "kernels/rotary_table.h"

namespace kvlab {
namespace {

constexpr int kGroup = 3, kDim = 20, kRows = 150, kRecent = 12, kFirstCounted = 5;
constexpr int64_t kQueryRow = kGroup * kDim + 7;  // queries of other heads lie between the rows

class QueryMemoryTest : public ::testing::Test {
 protected:
  // All rows, in calls of `size`.
  QueryMemory filled(int size) const {
    QueryMemory memory(kGroup, kDim, kRecent, true);
    for (int first = 0; first < kRows; first += size) {
      memory.append_rows({q_.data() + first * kQueryRow, kQueryRow, kDim, rotary_.cos_row(first),
                          rotary_.sin_row(first), rotary_.pairs, std::min(size, kRows - first)},
                         kFirstCounted - first);
    }
    return memory;
  }

  const std::vector<float> q_ = random_floats(kRows * kQueryRow, 1);
  const RotaryTable rotary_{{1.0, 0.3, 0.05, 0.01}, 0, kRows};
};

void expect_equal(const QueryMemory& a, const QueryMemory& b) {
  EXPECT_EQ(a.counted(), b.counted());
  ASSERT_EQ(a.recent_rows(), b.recent_rows());
  std::vector<float> recent_a(kRecent * kGroup * kDim), recent_b(recent_a.size());
  a.copy_recent(recent_a.data());
  b.copy_recent(recent_b.data());
  EXPECT_EQ(recent_a, recent_b);
  for (int g = 0; g < kGroup; ++g) {
    for (int i = 0; i < kDim; ++i) {
      EXPECT_EQ(a.sum(g)[i], b.sum(g)[i]);
      for (int j = 0; j <= i; ++j)
        ASSERT_EQ(a.outer(g)[i * kDim + j], b.outer(g)[i * kDim + j]) << i << " " << j;
    }
  }
}

TEST_F(QueryMemoryTest, CuttingTheTokensChangesNoBit) {
  QueryMemory single(kGroup, kDim, kRecent, true);
  for (int r = 0; r < kRows; ++r) {
    single.append(q_.data() + r * kQueryRow, kDim, rotary_.cos_row(r), rotary_.sin_row(r), rotary_.pairs,
                  r >= kFirstCounted);
  }
  EXPECT_EQ(single.counted(), kRows - kFirstCounted);
  for (const int size : {1, 4, 13, 64, 100, kRows}) {
    SCOPED_TRACE(size);
    expect_equal(filled(size), single);
  }
}

TEST_F(QueryMemoryTest, KeepsTheLastQueriesInOrder) {
  std::vector<float> recent(kRecent * kGroup * kDim);
  filled(64).copy_recent(recent.data());
  for (int r = 0; r < kRecent; ++r) {
    const float* from = q_.data() + (kRows - kRecent + r) * kQueryRow;
    EXPECT_TRUE(std::equal(from, from + kGroup * kDim, recent.data() + r * kGroup * kDim)) << r;
  }
}

TEST_F(QueryMemoryTest, MomentsAreThoseOfQueriesWithoutRotation) {
  const QueryMemory memory = filled(64);
  std::vector<double> plain(kDim);
  for (int g = 0; g < kGroup; ++g) {
    std::vector<double> sum(kDim), outer(kDim * kDim);
    for (int r = kFirstCounted; r < kRows; ++r) {
      unrotate_half_split(q_.data() + r * kQueryRow + g * kDim, rotary_.cos_row(r), rotary_.sin_row(r),
                          rotary_.pairs, kDim, plain.data());
      for (int i = 0; i < kDim; ++i) {
        sum[i] += plain[i];
        for (int j = 0; j <= i; ++j) outer[i * kDim + j] += plain[i] * plain[j];
      }
    }
    for (int i = 0; i < kDim; ++i) {
      EXPECT_NEAR(memory.sum(g)[i], sum[i], 1e-10);
      for (int j = 0; j <= i; ++j) EXPECT_NEAR(memory.outer(g)[i * kDim + j], outer[i * kDim + j], 1e-10);
    }
  }
}

}  // namespace
}  // namespace kvlab
