#include "train/mlp.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "kernels/sgemm.h"

namespace kvlab {

namespace {

// Mean and one over the standard deviation of every column; 1 of a column that does not vary.
struct Standard {
  std::vector<double> mean, inverse;
};

Standard standard_of(int columns, int64_t rows, const std::function<void(int64_t, float*)>& read) {
  std::vector<float> row(columns);
  std::vector<double> mean(columns), squares(columns);
  for (int64_t r = 0; r < rows; ++r) {
    read(r, row.data());
    for (int c = 0; c < columns; ++c) {
      const double d = row[c] - mean[c];
      mean[c] += d / static_cast<double>(r + 1);
      squares[c] += d * (row[c] - mean[c]);
    }
  }
  Standard standard{mean, std::vector<double>(columns, 1.0)};
  for (int c = 0; c < columns; ++c) {
    const double variance = squares[c] / static_cast<double>(rows);
    if (variance > 0) standard.inverse[c] = 1 / std::sqrt(variance);
  }
  return standard;
}

void apply(const Standard& standard, float* row) {
  for (size_t c = 0; c < standard.mean.size(); ++c)
    row[c] = static_cast<float>((row[c] - standard.mean[c]) * standard.inverse[c]);
}

// Random numbers of one fit, one after the other.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(mix64(seed)) {}
  uint64_t next() { return mix64(state_ ^ ++count_); }
  float uniform(float bound) {  // in [-bound, bound)
    return (static_cast<float>(next() >> 40) * 0x1p-23f - 1) * bound;
  }

 private:
  uint64_t state_, count_ = 0;
};

// As torch's Linear: weights and biases uniform within 1 / sqrt(inputs).
Surrogate random_start(int input, int hidden, int output, Random& random) {
  Surrogate mlp(input, hidden, output);
  const float first = 1 / std::sqrt(static_cast<float>(input)),
              last = 1 / std::sqrt(static_cast<float>(hidden));
  for (float* v = mlp.first_weight(); v != mlp.weight(); ++v) *v = random.uniform(first);
  for (float* v = mlp.weight(); v != mlp.values.data() + mlp.values.size(); ++v) *v = random.uniform(last);
  return mlp;
}

void shuffle(std::vector<int64_t>& order, Random& random) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.next() % i]);
}

class AdamW {
 public:
  AdamW(size_t size, double weight_decay) : decay_(weight_decay), first_(size), second_(size) {}

  void step(const std::vector<float>& gradient, double scale, double rate, std::vector<float>& values) {
    ++steps_;
    const auto keep = static_cast<float>(1 - rate * decay_), g_scale = static_cast<float>(scale);
    const auto step = static_cast<float>(rate / (1 - std::pow(kBeta1, steps_)));
    const auto inverse = static_cast<float>(1 / std::sqrt(1 - std::pow(kBeta2, steps_)));
    constexpr auto b1 = static_cast<float>(kBeta1), b2 = static_cast<float>(kBeta2), eps = 1e-8f;
    for (size_t i = 0; i < values.size(); ++i) {
      const float g = gradient[i] * g_scale;
      first_[i] = b1 * first_[i] + (1 - b1) * g;
      second_[i] = b2 * second_[i] + (1 - b2) * g * g;
      values[i] = values[i] * keep - step * first_[i] / (std::sqrt(second_[i]) * inverse + eps);
    }
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999;
  double decay_;
  int steps_ = 0;
  std::vector<float> first_, second_;
};

// What makes a gradient no longer than `clip`.
double clip_scale(const std::vector<float>& gradient, double clip) {
  double square = 0;
  for (const float g : gradient) square += static_cast<double>(g) * g;
  const double norm = std::sqrt(square);
  return norm > clip ? clip / norm : 1;
}

// The same function of inputs and outputs that were not standardised.
void unfold(const Standard& x, const Standard& y, Surrogate& mlp) {
  for (int m = 0; m < mlp.hidden; ++m) {
    float* w = mlp.first_weight() + static_cast<int64_t>(m) * mlp.input;
    double bias = mlp.first_bias()[m];
    for (int i = 0; i < mlp.input; ++i) {
      const double scaled = w[i] * x.inverse[i];
      bias -= scaled * x.mean[i];
      w[i] = static_cast<float>(scaled);
    }
    mlp.first_bias()[m] = static_cast<float>(bias);
  }
  for (int o = 0; o < mlp.output; ++o) {
    float* w = mlp.weight() + static_cast<int64_t>(o) * mlp.hidden;
    for (int m = 0; m < mlp.hidden; ++m) w[m] = static_cast<float>(w[m] / y.inverse[o]);
    mlp.bias()[o] = static_cast<float>(mlp.bias()[o] / y.inverse[o] + y.mean[o]);
  }
}

void add_columns(const std::vector<float>& rows, int count, int columns, float* sums) {
  std::fill_n(sums, columns, 0.0f);
  for (int r = 0; r < count; ++r) {
    for (int c = 0; c < columns; ++c) sums[c] += rows[static_cast<size_t>(r) * columns + c];
  }
}

}  // namespace

double mlp_loss(const Surrogate& mlp, const float* x, const float* y, int rows, Surrogate& gradient) {
  const int in = mlp.input, mid = mlp.hidden, out = mlp.output;
  if (gradient.values.size() != mlp.values.size()) gradient = Surrogate(in, mid, out);
  const size_t inner_size = static_cast<size_t>(rows) * mid, outer_size = static_cast<size_t>(rows) * out;
  std::vector<float> z(inner_size), active(inner_size), error(outer_size), back(inner_size);
  multiply(rows, mid, in, {x, in}, {mlp.first_weight(), in, true}, z.data(), mid);
  for (size_t i = 0; i < inner_size; ++i) {
    z[i] += mlp.first_bias()[i % mid];
    active[i] = gelu(z[i]);
  }
  multiply(rows, out, mid, {active.data(), mid}, {mlp.weight(), mid, true}, error.data(), out);
  double loss = 0;
  const float scale = 2.0f / static_cast<float>(outer_size);
  for (size_t i = 0; i < outer_size; ++i) {
    const float e = error[i] + mlp.bias()[i % out] - y[i];
    loss += static_cast<double>(e) * e;
    error[i] = e * scale;  // the loss's derivative by the prediction
  }
  multiply(out, mid, rows, {error.data(), out, true}, {active.data(), mid}, gradient.weight(), mid);
  add_columns(error, rows, out, gradient.bias());
  multiply(rows, mid, out, {error.data(), out}, {mlp.weight(), mid}, back.data(), mid);
  for (size_t i = 0; i < inner_size; ++i) back[i] *= gelu_slope(z[i]);
  multiply(mid, in, rows, {back.data(), mid, true}, {x, in}, gradient.first_weight(), in);
  add_columns(back, rows, mid, gradient.first_bias());
  return loss / static_cast<double>(outer_size);
}

Surrogate fit_mlp(int input, int output, int64_t rows, const MlpOptions& o, const ReadSample& read,
                  const std::function<bool(int)>& go_on) {
  std::vector<float> unused(std::max(input, output));
  const Standard xs = standard_of(input, rows, [&](int64_t r, float* x) { read(r, x, unused.data()); });
  const Standard ys = standard_of(output, rows, [&](int64_t r, float* y) { read(r, unused.data(), y); });
  Random random(o.seed);
  Surrogate mlp = random_start(input, o.hidden, output, random), gradient;
  AdamW optimizer(mlp.values.size(), o.weight_decay);
  std::vector<int64_t> order(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) order[r] = r;
  std::vector<float> x(static_cast<size_t>(o.batch) * input), y(static_cast<size_t>(o.batch) * output);
  for (int epoch = 0; epoch < o.epochs; ++epoch) {
    const double rate = o.learning_rate * 0.5 * (1 + std::cos(M_PI * epoch / o.epochs));
    shuffle(order, random);
    for (int64_t first = 0; first < rows; first += o.batch) {
      if (!go_on(epoch)) return {};
      const int count = static_cast<int>(std::min<int64_t>(o.batch, rows - first));
      for (int b = 0; b < count; ++b) {
        read(order[first + b], x.data() + static_cast<int64_t>(b) * input,
             y.data() + static_cast<int64_t>(b) * output);
        apply(xs, x.data() + static_cast<int64_t>(b) * input);
        apply(ys, y.data() + static_cast<int64_t>(b) * output);
      }
      mlp_loss(mlp, x.data(), y.data(), count, gradient);
      optimizer.step(gradient.values, clip_scale(gradient.values, o.clip), rate, mlp.values);
    }
  }
  unfold(xs, ys, mlp);
  return mlp;
}

}  // namespace kvlab
