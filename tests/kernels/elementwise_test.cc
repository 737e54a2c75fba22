#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/simd_targets.h"

namespace kvlab {
namespace {

std::vector<float> normal(size_t n, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> v(n);
  for (float& x : v) x = distribution(random);
  return v;
}

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double relative,
                 double absolute) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], relative * std::abs(expected[i]) + absolute) << "element " << i;
  }
}

// Lengths around every vector width, and the widths of a model.
const std::vector<int> kLengths = {1,  2,  3,  4,  5,  7,  8,   9,   15,  16,
                                   17, 31, 33, 63, 64, 65, 100, 127, 576, 1536};

TEST(Elementwise, RmsNormMatchesTheReference) {
  for_each_target([](int64_t) {
    for (const int n : kLengths) {
      for (const float scale : {1e-6f, 1.0f, 1e6f}) {
        const auto x = normal(n, scale, n), weight = normal(n, 1.0f, n + 1);
        std::vector<float> actual(n), expected(n);
        rms_norm(x.data(), weight.data(), 1e-5f, n, actual.data());
        reference::rms_norm(x.data(), weight.data(), 1e-5f, n, expected.data());
        expect_near(actual, expected, 1e-6, 1e-30);
      }
    }
  });
}

TEST(Elementwise, SiluMulMatchesTheReference) {
  for_each_target([](int64_t) {
    for (const int n : kLengths) {
      for (const float scale : {1e-3f, 1.0f, 20.0f, 1e4f}) {
        const auto gate = normal(n, scale, n), up = normal(n, 3.0f, n + 1);
        std::vector<float> actual(n), expected(n);
        silu_mul(gate.data(), up.data(), n, actual.data());
        reference::silu_mul(gate.data(), up.data(), n, expected.data());
        expect_near(actual, expected, 1e-6, 1e-30);
      }
    }
  });
}

TEST(Elementwise, RotationMatchesTheReferenceAndLeavesTheRest) {
  for_each_target([](int64_t) {
    for (const int dims : {2, 6, 14, 16, 32, 34, 64, 80, 128}) {
      const auto angles = normal(dims / 2, 2.0f, dims);
      std::vector<float> cos(dims / 2), sin(dims / 2);
      for (int i = 0; i < dims / 2; ++i) cos[i] = std::cos(angles[i]), sin[i] = std::sin(angles[i]);
      auto actual = normal(dims + 3, 1.0f, dims + 1);
      auto expected = actual;
      rotate_half_split(actual.data(), cos.data(), sin.data(), dims);
      reference::rotate_half_split(expected.data(), cos.data(), sin.data(), dims);
      expect_near(actual, expected, 1e-6, 1e-6);
      for (int i = dims; i < dims + 3; ++i) EXPECT_EQ(actual[i], expected[i]);
    }
  });
}

TEST(Elementwise, AddAndNorm) {
  for_each_target([](int64_t) {
    for (const int n : kLengths) {
      const auto x = normal(n, 1.0f, n), before = normal(n, 1.0f, n + 1);
      auto y = before;
      add_to(x.data(), n, y.data());
      double squares = 0;
      for (int i = 0; i < n; ++i) {
        ASSERT_EQ(y[i], before[i] + x[i]);
        squares += double{x[i]} * x[i];
      }
      EXPECT_NEAR(l2_norm(x.data(), n), std::sqrt(squares), 1e-6 * std::sqrt(squares));
    }
  });
}

// Every rounding case, numbers of all sizes, and the special values, against the scalar conversion.
std::vector<float> conversion_cases() {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> v = {0.0f, -0.0f, inf, -inf, std::nanf(""), 3.4e38f, -3.4e38f, 1e-45f, 1.1754944e-38f};
  for (const uint32_t bits : {0x7f800001u, 0xff80ffffu, 0x7fffffffu, 0x3f808000u, 0x3f818000u, 0x3f807fffu}) {
    v.push_back(std::bit_cast<float>(bits));
  }
  std::mt19937 random(5);
  while (v.size() < 4099) v.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  return v;
}

TEST(Elementwise, BF16ConversionsAreBitExact) {
  for_each_target([](int64_t) {
    const auto x = conversion_cases();
    for (const size_t n : {size_t{1}, size_t{7}, size_t{16}, size_t{23}, x.size()}) {
      std::vector<BF16> half(n);
      std::vector<float> back(n), rounded(x.begin(), x.begin() + static_cast<ptrdiff_t>(n));
      to_bf16(x.data(), static_cast<int64_t>(n), half.data());
      to_f32(half.data(), static_cast<int64_t>(n), back.data());
      round_to_bf16(rounded.data(), static_cast<int64_t>(n));
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(half[i].bits, to_bf16(x[i]).bits) << x[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), static_cast<uint32_t>(half[i].bits) << 16);
        ASSERT_EQ(std::bit_cast<uint32_t>(rounded[i]), static_cast<uint32_t>(half[i].bits) << 16);
      }
    }
  });
}

}  // namespace
}  // namespace kvlab
