#include "kernels/quantised_gemv.h"

#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/every_level.h"

namespace kvlab {
namespace {

constexpr float kMark = -77.0f;
// Sizes beside the multiples of 16 outputs and of the 64 inputs of a unit.
const std::vector<std::pair<int, int>> kShapes = {{16, 64}, {37, 96}, {1, 32}, {50, 576}};

struct Type {
  const char* name;
  ggml_type ggml;
  size_t code_bytes;
};
constexpr Type kTypes[] = {
    {"q4_0", GGML_TYPE_Q4_0, 16}, {"q4_1", GGML_TYPE_Q4_1, 16}, {"q8_0", GGML_TYPE_Q8_0, 32}};

// Rows as a file holds them: blocks with any codes, and halves up to 2 as scales and minima.
std::vector<std::byte> random_blocks(const Type& type, int out, int in, uint64_t seed) {
  const size_t block = ggml_type_size(type.ggml);
  std::vector<std::byte> bytes(size_t(out) * in / 32 * block);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(entry_uniform(seed, 0, 0, 0, i) * 256);
  for (size_t at = 0; at < bytes.size(); at += block)
    for (size_t half = 0; half < block - type.code_bytes; half += 2) {
      const ggml_fp16_t value = ggml_fp32_to_fp16(4 * entry_uniform(seed, 1, 0, 0, at + half) - 2);
      std::memcpy(bytes.data() + at + half, &value, sizeof value);
    }
  return bytes;
}

struct Problem {
  int out, in;
  std::vector<float> weight;  // as ggml reads the blocks
  QuantisedMatrix packed;
  Problem(const Type& type, int o, int i)
      : out(o), in(i), weight(size_t(o) * i), packed(*quantised_type(type.name), o, i) {
    const std::vector<std::byte> blocks = random_blocks(type, out, in, 5);
    ggml_get_type_traits(type.ggml)->to_float(blocks.data(), weight.data(), int64_t{out} * in);
    // In two parts, as joined matrices are.
    const int first = out / 3;
    packed.put_rows(0, first, blocks.data());
    packed.put_rows(first, out - first, blocks.data() + first * quantised_row_bytes(packed.type(), in));
  }
};

using Linear = void (*)(const QuantisedMatrix&, const QuantisedInput&, int, int, float*, int64_t, bool);

// Every type and shape, by the fastest kernel and by the plain one.
template <typename Body>
void for_each_problem(Body&& body) {
  for (const Type& type : kTypes) {
    for (const auto& [out, in] : kShapes) {
      SCOPED_TRACE(testing::Message() << type.name << " " << out << "x" << in);
      const Problem p(type, out, in);
      body(p, quantised_linear);
      SCOPED_TRACE("plain");
      body(p, reference::quantised_linear);
    }
  }
}

std::vector<float> multiply(const Problem& p, Linear linear, const std::vector<float>& x, int rows) {
  QuantisedInput input;
  prepare_quantised(p.in, x.data(), p.in, rows, input);
  std::vector<float> y(size_t(rows) * p.out);
  linear(p.packed, input, 0, p.packed.groups(), y.data(), p.out, false);
  return y;
}

// A unit vector picks one weight of each output, which must be the file's to the last bit.
TEST(QuantisedGemv, EveryWeightIsExactlyTheFiles) {
  for_each_problem([](const Problem& p, Linear linear) {
    std::vector<float> x(p.in, 0.0f);
    // All of short rows, some of long ones.
    for (int i = 0; i<p.in; i += p.in> 96 ? 37 : 1) {
      x[i] = 1.0f;
      const auto y = multiply(p, linear, x, 1);
      for (int o = 0; o < p.out; ++o) ASSERT_EQ(y[o], p.weight[size_t(o) * p.in + i]) << o << " " << i;
      x[i] = 0.0f;
    }
  });
}

TEST(QuantisedGemv, MatchesDoubleSums) {
  for_each_problem([](const Problem& p, Linear linear) {
    const std::vector<float> x = random_floats(size_t(kQuantisedRows) * p.in, 3);
    const auto y = multiply(p, linear, x, kQuantisedRows);
    // Terms before they cancel: |d| and |m| up to 2, |q| up to 128.
    const double largest = p.packed.type() == QuantisedType::kQ8_0 ? 256 : 34;
    for (int r = 0; r < kQuantisedRows; ++r) {
      for (int o = 0; o < p.out; ++o) {
        double sum = 0, size = 0;
        for (int i = 0; i < p.in; ++i) {
          const double value = to_float(to_bf16(x[size_t(r) * p.in + i]));
          sum += value * p.weight[size_t(o) * p.in + i];
          size += std::abs(value) * largest;
        }
        ASSERT_NEAR(y[size_t(r) * p.out + o], sum, 1e-6 * size) << "row " << r << " output " << o;
      }
    }
  });
}

TEST(QuantisedGemv, RowsAndGroupsDoNotDependOnOthers) {
  for_each_problem([](const Problem& p, Linear linear) {
    const std::vector<float> x = random_floats(size_t(kQuantisedRows) * p.in, 3);
    const auto all = multiply(p, linear, x, kQuantisedRows);
    const int64_t stride = p.out + 3;
    for (int rows = 1; rows <= kQuantisedRows; ++rows) {
      QuantisedInput input;
      prepare_quantised(p.in, x.data(), p.in, rows, input);
      for (int group = 0; group < p.packed.groups(); ++group) {
        std::vector<float> y(static_cast<size_t>(rows * stride), kMark);
        linear(p.packed, input, group, group + 1, y.data(), stride, false);
        for (int r = 0; r < rows; ++r)
          for (int o = 0; o < stride; ++o)
            ASSERT_EQ(y[r * stride + o],
                      o < p.out && o / kQuantisedGroup == group ? all[size_t(r) * p.out + o] : kMark)
                << rows << " rows, row " << r << " output " << o;
      }
    }
  });
}

TEST(QuantisedGemv, AccumulatesWhatItWouldWrite) {
  for_each_problem([](const Problem& p, Linear linear) {
    const std::vector<float> x = random_floats(p.in, 3);
    const auto written = multiply(p, linear, x, 1);
    QuantisedInput input;
    prepare_quantised(p.in, x.data(), p.in, 1, input);
    std::vector<float> y(p.out, kMark);
    linear(p.packed, input, 0, p.packed.groups(), y.data(), p.out, true);
    for (int o = 0; o < p.out; ++o) ASSERT_EQ(y[o], kMark + written[o]) << o;
  });
}

TEST(QuantisedGemv, NamesSizesAndMistakes) {
  EXPECT_FALSE(quantised_type("q6_K"));
  EXPECT_FALSE(quantised_type("f16"));
  for (const Type& type : kTypes)
    EXPECT_EQ(quantised_row_bytes(*quantised_type(type.name), 96), ggml_row_size(type.ggml, 96));
  EXPECT_THROW(QuantisedMatrix(QuantisedType::kQ4_0, 16, 48), UserError);
  // 4 bits a weight and an f16 for 32 of them.
  const QuantisedMatrix w(QuantisedType::kQ4_0, 576, 576);
  EXPECT_EQ(w.bytes(), 576u * 576u / 32 * 18);
}

}  // namespace
}  // namespace kvlab
