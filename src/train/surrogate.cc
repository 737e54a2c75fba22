#include "train/surrogate.h"

#include <cmath>

#include "kernels/sgemm.h"

namespace kvlab {

namespace {

void add_rows(const float* bias, int rows, int columns, float* y) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) y[static_cast<size_t>(r) * columns + c] += bias[c];
  }
}

}  // namespace

Surrogate::Surrogate(int input_size, int hidden_size, int output_size)
    : input(input_size), hidden(hidden_size), output(output_size) {
  values.resize(last_offset() + last_size() + output);
}

void Surrogate::predict(const float* x, int rows, float* y) const {
  std::vector<float> middle;
  if (hidden > 0) {
    middle.resize(static_cast<size_t>(rows) * hidden);
    multiply(rows, hidden, input, {x, input}, {first_weight(), input, true}, middle.data(), hidden);
    add_rows(first_bias(), rows, hidden, middle.data());
    for (float& m : middle) m = gelu(m);
    x = middle.data();
  }
  multiply(rows, output, last_input(), {x, last_input()}, {weight(), last_input(), true}, y, output);
  add_rows(bias(), rows, output, y);
}

float gelu(float x) {
  return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
}

float gelu_slope(float x) {
  return 0.5f * (1.0f + std::erf(x * 0.70710678f)) + x * 0.39894228f * std::exp(-0.5f * x * x);
}

}  // namespace kvlab
