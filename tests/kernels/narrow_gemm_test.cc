#include "kernels/narrow_gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/every_level.h"

namespace kvlab {
namespace {

constexpr float kMark = -77.0f;
// Sizes beside the multiples of every block: of 64 columns, of 16 or 32 inputs.
const std::vector<std::pair<int, int>> kShapes = {{192, 64}, {130, 33}, {64, 7},
                                                  {13, 100}, {1, 1},    {70, 577}};

std::vector<DType> types() {
  if (cpu_has_bf16_dot()) return {DType::kF32, DType::kBF16};
  return {DType::kF32};
}

// A dot product as it should be, and the scale of its rounding.
struct Expected {
  double sum = 0, size = 0;
};

struct Problem {
  int out, in;
  DType type;
  std::vector<float> weight, x;
  PackedMatrix packed;
  Problem(int o, int i, DType t)
      : out(o),
        in(i),
        type(t),
        weight(random_floats(size_t(o) * i, 1)),
        x(random_floats(size_t(kNarrowRows) * i, 2)),
        packed(weight.data(), o, i, t) {
    if (type == DType::kBF16) round_to_bf16(weight.data(), static_cast<int64_t>(weight.size()));
  }
  // [kNarrowRows][out].
  std::vector<Expected> expected() const {
    std::vector<float> rounded = x;
    if (type == DType::kBF16) round_to_bf16(rounded.data(), static_cast<int64_t>(rounded.size()));
    std::vector<Expected> all(size_t(kNarrowRows) * out);
    for (size_t at = 0; at < all.size(); ++at) {
      for (int i = 0; i < in; ++i) {
        const double term = double{rounded[at / out * in + i]} * weight[at % out * in + i];
        all[at].sum += term;
        all[at].size += std::abs(term);
      }
    }
    return all;
  }
};

// The blocks [first, last) of the first rows of x; y's rows are `stride` apart and hold a mark beforehand.
std::vector<float> multiply(const Problem& p, int rows, int first, int last, int64_t stride,
                            bool accumulate = false) {
  NarrowInput input;
  prepare_narrow(p.type, p.in, p.x.data(), p.in, rows, input);
  std::vector<float> y(static_cast<size_t>(rows * stride), kMark);
  narrow_linear(p.packed, input, first, last, y.data(), stride, accumulate);
  return y;
}

std::vector<float> multiply(const Problem& p, int rows) {
  return multiply(p, rows, 0, narrow_blocks(p.packed), p.out);
}

// Every type, shape and instruction set whose layout has a kernel.
template <typename Body>
void for_each_problem(Body&& body) {
  int problems = 0;
  for (const DType type : types()) {
    for (const auto& [out, in] : kShapes) {
      SCOPED_TRACE(testing::Message() << dtype_name(type) << " " << out << "x" << in);
      const Problem p(out, in, type);
      if (narrow_blocks(p.packed) == 0) continue;
      ++problems;
      for_each_level([&] { body(p); });
    }
  }
  if (problems == 0) GTEST_SKIP() << "oneDNN packs for this processor in a layout without a kernel";
}

TEST(NarrowGemm, MatchesDoubleSums) {
  for_each_problem([](const Problem& p) {
    const int64_t stride = p.out + 3;
    const std::vector<Expected> expected = p.expected();
    for (int rows = 1; rows <= kNarrowRows; ++rows) {
      const auto y = multiply(p, rows, 0, narrow_blocks(p.packed), stride);
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < p.out; ++o) {
          const auto [sum, size] = expected[size_t(r) * p.out + o];
          ASSERT_NEAR(y[r * stride + o], sum, 1e-6 * size + 1e-6) << "row " << r << " column " << o;
        }
        for (int64_t o = p.out; o < stride; ++o)
          ASSERT_EQ(y[r * stride + o], kMark) << "padding of row " << r;
      }
    }
  });
}

TEST(NarrowGemm, ARowDoesNotDependOnTheOthers) {
  for_each_problem([](const Problem& p) {
    const auto all = multiply(p, kNarrowRows);
    for (int rows = 1; rows < kNarrowRows; ++rows) {
      const auto some = multiply(p, rows);
      ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0) << rows << " rows";
    }
  });
}

TEST(NarrowGemm, BlocksDoNotDependOnTheOthers) {
  for_each_problem([](const Problem& p) {
    constexpr int kRows = 9;
    const auto all = multiply(p, kRows);
    const int blocks = narrow_blocks(p.packed);
    ASSERT_EQ(blocks, (p.out + kNarrowColumns - 1) / kNarrowColumns);
    for (int block = 0; block < blocks; ++block) {
      const auto y = multiply(p, kRows, block, block + 1, p.out);
      for (int r = 0; r < kRows; ++r) {
        for (int o = 0; o < p.out; ++o) {
          const size_t at = size_t(r) * p.out + o;
          ASSERT_EQ(y[at], o / kNarrowColumns == block ? all[at] : kMark) << "row " << r << " column " << o;
        }
      }
    }
  });
}

TEST(NarrowGemm, AccumulatesWhatItWouldWrite) {
  for_each_problem([](const Problem& p) {
    for (const int rows : {1, 5, 16}) {
      const auto written = multiply(p, rows);
      const auto added = multiply(p, rows, 0, narrow_blocks(p.packed), p.out, true);
      for (size_t i = 0; i < written.size(); ++i) ASSERT_EQ(added[i], kMark + written[i]) << i;
    }
  });
}

TEST(NarrowGemm, TakesStridedRowsAndReusesItsInput) {
  const Problem p(70, 577, types().back());
  if (narrow_blocks(p.packed) == 0) GTEST_SKIP() << "no kernel for this layout";
  constexpr int kRows = 3;
  const int64_t stride = p.in + 5;
  std::vector<float> x(static_cast<size_t>(kRows * stride), std::nanf(""));  // the gaps must not be read
  for (int r = 0; r < kRows; ++r) std::copy_n(p.x.data() + r * p.in, p.in, x.data() + r * stride);
  NarrowInput input;
  // A larger input before leaves its values behind.
  const std::vector<float> other(1000 * kNarrowRows, std::nanf(""));
  prepare_narrow(p.type, 1000, other.data(), 1000, kNarrowRows, input);
  prepare_narrow(p.type, p.in, x.data(), stride, kRows, input);
  std::vector<float> y(size_t(kRows) * p.out);
  narrow_linear(p.packed, input, 0, narrow_blocks(p.packed), y.data(), p.out, false);
  EXPECT_EQ(y, multiply(p, kRows));
}

TEST(NarrowGemm, RefusesAnInputOfAnotherMatrix) {
  const Problem p(64, 32, DType::kF32);
  if (narrow_blocks(p.packed) == 0) GTEST_SKIP() << "no kernel for this layout";
  NarrowInput input;
  prepare_narrow(DType::kF32, 31, p.x.data(), 31, 1, input);
  std::vector<float> y(64);
  EXPECT_ANY_THROW(narrow_linear(p.packed, input, 0, 1, y.data(), 64, false));
  EXPECT_ANY_THROW(prepare_narrow(DType::kF32, 32, p.x.data(), 32, kNarrowRows + 1, input));
}

// column_blocks() says where each weight lies.
TEST(NarrowGemm, ColumnBlocksDescribeThePackedWeight) {
  for (const DType type : types()) {
    for (const auto& [out, in] : kShapes) {
      SCOPED_TRACE(testing::Message() << dtype_name(type) << " " << out << "x" << in);
      const Problem p(out, in, type);
      const auto& blocks = p.packed.column_blocks();
      if (!blocks) continue;
      ASSERT_GE(blocks->k_padded, in);
      ASSERT_GE(blocks->blocks * blocks->block_columns, out);
      for (int o = 0; o < blocks->blocks * blocks->block_columns; ++o) {
        for (int i = 0; i < blocks->k_padded; ++i) {
          const int unit = blocks->pairs ? 2 : 1;
          const int64_t at = o / blocks->block_columns * blocks->block_stride +
                             (i / unit * int64_t{blocks->block_columns} + o % blocks->block_columns) * unit +
                             i % unit;
          const float value = type == DType::kBF16 ? to_float(static_cast<const BF16*>(blocks->data)[at])
                                                   : static_cast<const float*>(blocks->data)[at];
          ASSERT_EQ(value, o < out && i < in ? p.weight[size_t(o) * in + i] : 0.0f) << o << " " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvlab
