#include "kernels/activations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/elementwise.h"

namespace kvlab {
namespace {

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                               Activation::kRelu};

// From -30 to 30, in a number that leaves a partial vector.
std::vector<float> inputs() {
  std::vector<float> x(1203);
  for (size_t i = 0; i < x.size(); ++i) x[i] = -30 + 60.0f * static_cast<float>(i) / 1202.0f;
  return x;
}

TEST(Activations, EqualTheReference) {
  const std::vector<float> x = inputs();
  for (const Activation activation : kAll) {
    std::vector<float> y = x;
    activate(activation, y.data(), static_cast<int>(y.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(y[i], reference::activated(activation, x[i]), 3e-7 * (1 + std::abs(x[i])))
          << static_cast<int>(activation) << " at " << x[i];
    }
  }
}

TEST(Activations, GateInPlace) {
  const std::vector<float> gate = inputs();
  std::vector<float> up(gate.size(), 3.0f);
  for (const Activation activation : kAll) {
    std::vector<float> out = gate;
    activate_mul(activation, out.data(), up.data(), static_cast<int>(out.size()), out.data());
    for (size_t i = 0; i < gate.size(); ++i) {
      EXPECT_NEAR(out[i], 3 * reference::activated(activation, gate[i]), 1e-6 * (1 + std::abs(gate[i])))
          << static_cast<int>(activation) << " at " << gate[i];
    }
  }
}

TEST(LayerNorm, EqualsTheReference) {
  for (const int n : {1, 7, 64, 515}) {
    std::vector<float> x(n), weight(n), bias(n), out(n), expected(n);
    for (int i = 0; i < n; ++i) {
      x[i] = 100 + std::sin(static_cast<float>(i));  // a mean far from zero
      weight[i] = 1 + 0.01f * static_cast<float>(i);
      bias[i] = 0.5f - static_cast<float>(i % 3);
    }
    layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, out.data());
    reference::layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, expected.data());
    for (int i = 0; i < n; ++i)
      EXPECT_NEAR(out[i], expected[i], 2e-4 * std::abs(weight[i])) << n << ": " << i;
  }
}

}  // namespace
}  // namespace kvlab
