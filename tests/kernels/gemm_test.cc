#include "kernels/gemm.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "kernels/elementwise.h"

namespace kvlab {
namespace {

const std::vector<int> kRows = {1, 2, 7, 8, 33, 64};
const std::vector<std::pair<int, int>> kShapes = {{960, 576},  {3072, 576}, {576, 1536},
                                                  {2048, 576}, {13, 24},    {50, 7}};

std::vector<float> normal(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> v(n);
  for (float& x : v) x = distribution(random);
  return v;
}

std::vector<DType> types() {
  if (cpu_has_bf16_dot()) return {DType::kF32, DType::kBF16};
  return {DType::kF32};
}

struct Problem {
  int out, in;
  DType type;
  std::vector<float> weight, x;
  PackedMatrix packed;
  Problem(int o, int i, DType t)
      : out(o),
        in(i),
        type(t),
        weight(normal(size_t(o) * i, 1)),
        x(normal(size_t(64) * i, 2)),
        packed(weight.data(), o, i, t) {
    if (type != DType::kBF16) return;
    round_to_bf16(weight.data(), static_cast<int64_t>(weight.size()));
  }
  // The dot product as it should be, and the scale of its rounding.
  std::pair<double, double> expected(int row, int o) const {
    double sum = 0, size = 0;
    for (int i = 0; i < in; ++i) {
      float value = x[size_t(row) * in + i];
      if (type == DType::kBF16) value = to_float(to_bf16(value));
      const double term = double{value} * weight[size_t(o) * in + i];
      sum += term;
      size += std::abs(term);
    }
    return {sum, size};
  }
};

// y with its rows `stride` apart, filled with a mark beforehand.
std::vector<float> multiply(const Problem& p, int rows, int64_t stride, GemmScratch& scratch) {
  std::vector<float> y(static_cast<size_t>(rows * stride), -77.0f);
  linear(p.packed, p.x.data(), p.in, rows, y.data(), stride, scratch);
  return y;
}

void check(const Problem& p, int rows, int64_t stride, const std::vector<float>& y) {
  for (int r = 0; r < rows; ++r) {
    // All columns of the first rows, every 37th of the others: the double sums are slow.
    for (int o = 0; o < p.out; o += r < 2 ? 1 : 37) {
      const auto [sum, size] = p.expected(r, o);
      ASSERT_NEAR(y[r * stride + o], sum, 1e-6 * size + 1e-6) << "row " << r << " column " << o;
    }
    for (int64_t o = p.out; o < stride; ++o) ASSERT_EQ(y[r * stride + o], -77.0f) << "padding of row " << r;
  }
}

TEST(Gemm, MatchesDoubleSums) {
  GemmScratch scratch;
  for (const DType type : types()) {
    for (const auto& [out, in] : kShapes) {
      SCOPED_TRACE(testing::Message() << dtype_name(type) << " " << out << "x" << in);
      const Problem p(out, in, type);
      for (const int rows : kRows) {
        for (const int64_t stride : {int64_t{out}, int64_t{out} + 5}) {
          check(p, rows, stride, multiply(p, rows, stride, scratch));
        }
      }
    }
  }
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b, int in) {
  ASSERT_EQ(a.size(), b.size());
  // Relative to the standard deviation of a sum of `in` products of unit normals: some sums are near 0 by
  // chance.
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-6 * std::sqrt(in)) << i;
}

TEST(Gemm, InsideAParallelRegionAsOutside) {
  const int before = thread_count();
  set_thread_count(2);
  for (const DType type : types()) {
    for (const auto& [out, in] : kShapes) {
      const Problem p(out, in, type);
      for (const int rows : kRows) {
        GemmScratch scratch;
        const auto outside = multiply(p, rows, out, scratch);
        std::vector<float> inside[2];
#pragma omp parallel num_threads(2)
        {
          GemmScratch mine;
          // Several times, so that both threads are in the same primitive together.
          for (int i = 0; i < 4; ++i) inside[omp_get_thread_num()] = multiply(p, rows, out, mine);
        }
        expect_close(inside[0], outside, in);
        expect_close(inside[1], outside, in);
        EXPECT_EQ(inside[0], inside[1]);
      }
    }
  }
  set_thread_count(before);
}

// A row's result must not depend on which rows it came with, beyond rounding.
TEST(Gemm, RowsDoNotDependOnTheBucket) {
  GemmScratch scratch;
  for (const DType type : types()) {
    const Problem p(960, 576, type);
    const auto all = multiply(p, 64, 960, scratch);
    for (const int rows : kRows) {
      const auto some = multiply(p, rows, 960, scratch);
      expect_close(some, {all.begin(), all.begin() + static_cast<ptrdiff_t>(some.size())}, p.in);
    }
  }
}

TEST(Gemm, TakesStridedRowsAndMoreThanABlock) {
  GemmScratch scratch;
  for (const DType type : types()) {
    const Problem p(50, 24, type);
    const int rows = 150;
    const int64_t stride = 31;
    std::vector<float> x(static_cast<size_t>(rows * stride), std::nanf(""));  // the gaps must not be read
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < p.in; ++i) x[r * stride + i] = p.x[size_t(r % 64) * p.in + i];
    }
    std::vector<float> y(size_t(rows) * p.out);
    linear(p.packed, x.data(), stride, rows, y.data(), p.out, scratch);
    for (int r = 0; r < rows; ++r) {
      for (int o = 0; o < p.out; ++o) {
        const auto [sum, size] = p.expected(r % 64, o);
        ASSERT_NEAR(y[size_t(r) * p.out + o], sum, 1e-6 * size + 1e-6) << r;
      }
    }
  }
}

TEST(Gemm, CountsItsMemoryAndMoves) {
  const int64_t before = allocated_bytes(Account::kWeights);
  {
    const std::vector<float> weight = normal(960 * 576, 1);
    PackedMatrix a(weight.data(), 960, 576, types().back());
    EXPECT_GE(a.bytes(), 960u * 576u * element_size(a.type()));
    EXPECT_EQ(allocated_bytes(Account::kWeights) - before, static_cast<int64_t>(a.bytes()));
    const PackedMatrix b = std::move(a);
    EXPECT_EQ(b.out(), 960);
    EXPECT_EQ(b.in(), 576);
    EXPECT_EQ(allocated_bytes(Account::kWeights) - before, static_cast<int64_t>(b.bytes()));
  }
  EXPECT_EQ(allocated_bytes(Account::kWeights), before);
}

}  // namespace
}  // namespace kvlab
