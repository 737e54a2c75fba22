// The small model of a layer that KVzap fits: linear, or two layers with an exact GELU between.
#pragma once

#include <span>
#include <vector>

namespace kvlab {

struct Surrogate {
  int input = 0, hidden = 0, output = 0;  // hidden 0: linear
  // One after the other: first weight [hidden][input] and bias [hidden] (not of a linear one), last weight
  // [output][hidden, or input] and bias [output].
  std::vector<float> values;

  Surrogate() = default;
  Surrogate(int input_size, int hidden_size, int output_size);
  int last_input() const { return hidden > 0 ? hidden : input; }
  float* first_weight() { return values.data(); }
  float* first_bias() { return first_weight() + first_size(); }
  float* weight() { return values.data() + last_offset(); }
  float* bias() { return weight() + last_size(); }
  const float* first_weight() const { return values.data(); }
  const float* first_bias() const { return first_weight() + first_size(); }
  const float* weight() const { return values.data() + last_offset(); }
  const float* bias() const { return weight() + last_size(); }

  // y[r] = f(x[r]); x: [rows][input], y: [rows][output]. By the calling thread.
  void predict(const float* x, int rows, float* y) const;

 private:
  size_t first_size() const { return static_cast<size_t>(hidden) * input; }
  size_t last_size() const { return static_cast<size_t>(output) * last_input(); }
  size_t last_offset() const { return hidden > 0 ? first_size() + hidden : 0; }
};

// x Phi(x), Phi the normal distribution function; and its derivative.
float gelu(float x);
float gelu_slope(float x);

}  // namespace kvlab
