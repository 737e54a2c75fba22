// Products of plain matrices against loops.
#include "kernels/sgemm.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace kvlab {
namespace {

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

double at(const MatrixView& m, int r, int c) {
  return m.transposed ? m.data[c * m.stride + r] : m.data[r * m.stride + c];
}

TEST(Sgemm, MultipliesAsLoopsDo) {
  constexpr int kRows = 5, kColumns = 7, kInner = 11, kStride = 13;
  const std::vector<float> a = random_values(kStride * kStride, 1), b = random_values(kStride * kStride, 2);
  for (const bool a_transposed : {false, true}) {
    for (const bool b_transposed : {false, true}) {
      for (const bool accumulate : {false, true}) {
        const MatrixView left{a.data(), kStride, a_transposed}, right{b.data(), kStride, b_transposed};
        std::vector<float> c(kRows * kStride, 2.0f);
        multiply(kRows, kColumns, kInner, left, right, c.data(), kStride, accumulate);
        for (int r = 0; r < kRows; ++r) {
          for (int o = 0; o < kStride; ++o) {
            double expected = accumulate || o >= kColumns ? 2 : 0;
            for (int i = 0; o < kColumns && i < kInner; ++i) expected += at(left, r, i) * at(right, i, o);
            EXPECT_NEAR(c[r * kStride + o], expected, 1e-5) << a_transposed << b_transposed << accumulate;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvlab
