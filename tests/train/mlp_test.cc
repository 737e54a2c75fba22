// The MLP's gradient, and what its fit promises.
#include "train/mlp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "train/held_out.h"
#include "train/ridge.h"

namespace kvlab {
namespace {

std::vector<float> random_values(size_t n, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator) * scale;
  return values;
}

TEST(Gelu, IsExact) {
  EXPECT_NEAR(gelu(1.0f), 0.8413447, 1e-6);
  EXPECT_NEAR(gelu(-2.0f), -0.0455003, 1e-6);
  for (const float x : {-3.0f, -0.5f, 0.0f, 0.7f, 2.0f})
    EXPECT_NEAR(gelu_slope(x), (gelu(x + 1e-2f) - gelu(x - 1e-2f)) / 2e-2, 1e-4) << x;
}

TEST(Mlp, GradientIsThatOfFiniteDifferences) {
  Surrogate mlp(5, 4, 3), gradient, unused;
  mlp.values = random_values(mlp.values.size(), 1, 0.7f);
  const std::vector<float> x = random_values(5 * 6, 2), y = random_values(3 * 6, 3);
  mlp_loss(mlp, x.data(), y.data(), 6, gradient);
  ASSERT_EQ(gradient.values.size(), mlp.values.size());
  for (size_t i = 0; i < mlp.values.size(); ++i) {
    constexpr float kStep = 1e-2f;
    Surrogate up = mlp, down = mlp;
    up.values[i] += kStep;
    down.values[i] -= kStep;
    const double slope =
        (mlp_loss(up, x.data(), y.data(), 6, unused) - mlp_loss(down, x.data(), y.data(), 6, unused)) /
        (2 * kStep);
    EXPECT_NEAR(gradient.values[i], slope, 2e-3 + 1e-2 * std::abs(slope)) << i;
  }
}

TEST(Mlp, LossIsThePredictionsMeanSquaredError) {
  Surrogate mlp(5, 4, 3), unused;
  mlp.values = random_values(mlp.values.size(), 1);
  const std::vector<float> x = random_values(5 * 6, 2), y = random_values(3 * 6, 3);
  std::vector<float> predicted(3 * 6);
  mlp.predict(x.data(), 6, predicted.data());
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += std::pow(predicted[i] - y[i], 2);
  EXPECT_NEAR(mlp_loss(mlp, x.data(), y.data(), 6, unused), sum / 18, 1e-5);
}

// y = |x0| + x1 / 50, with x1 far from zero: no line fits it.
struct Bent {
  static constexpr int kRows = 2000;
  std::vector<float> x = random_values(2 * kRows, 7);
  Bent() {
    for (int r = 0; r < kRows; ++r) x[2 * r + 1] = 100 + 20 * x[2 * r + 1];
  }
  void read(int64_t row, float* out, float* y) const {
    out[0] = x[2 * row];
    out[1] = x[2 * row + 1];
    *y = std::abs(out[0]) + out[1] / 50 - 5;
  }
  Surrogate fit(const MlpOptions& options, int stop_after = 1 << 30) const {
    int asked = 0;
    return fit_mlp(
        2, 1, kRows, options, [&](int64_t r, float* a, float* b) { read(r, a, b); },
        [&](int) { return asked++ < stop_after; });
  }
  double explained(const Surrogate& fit) const {
    FitStatistics statistics;
    for (int r = 0; r < kRows; ++r) {
      float in[2], truth, predicted;
      read(r, in, &truth);
      fit.predict(in, 1, &predicted);
      statistics.add(predicted, truth);
    }
    return statistics.explained();
  }
};

TEST(Mlp, FitsWhatNoLineDoes) {
  const Bent bent;
  MlpOptions options;
  options.hidden = 8;
  options.epochs = 30;
  options.batch = 64;
  const Surrogate mlp = bent.fit(options);
  EXPECT_GT(bent.explained(mlp), 0.98) << "of the data as it is, not standardised";
  Ridge ridge(2, 1);
  for (int r = 0; r < Bent::kRows; ++r) {
    float in[2], y;
    bent.read(r, in, &y);
    ridge.add(in, &y, 1);
  }
  EXPECT_LT(bent.explained(ridge.solve(1)), 0.6);
}

TEST(Mlp, IsAFunctionOfTheSeed) {
  const Bent bent;
  MlpOptions options;
  options.hidden = 3;
  options.epochs = 1;
  EXPECT_EQ(bent.fit(options).values, bent.fit(options).values);
  MlpOptions other = options;
  other.seed = 1;
  EXPECT_NE(bent.fit(options).values, bent.fit(other).values);
}

TEST(Mlp, StopsWhenTold) {
  MlpOptions options;
  options.hidden = 3;
  EXPECT_TRUE(Bent().fit(options, 2).values.empty());
}

}  // namespace
}  // namespace kvlab
