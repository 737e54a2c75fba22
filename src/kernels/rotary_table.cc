#include "kernels/rotary_table.h"

#include <cmath>

namespace kvlab {

namespace {

// The angle is rounded to float, as the reference implementations do: at far positions that shifts it by more
// than the float cosine does, and losses are compared with theirs.
double angle_of(int64_t position, double frequency) {
  return static_cast<float>(position) * static_cast<float>(frequency);
}

void fill_row(const std::vector<double>& frequencies, int64_t position, double magnitude, float* cos,
              float* sin) {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = angle_of(position, frequencies[i]);
    cos[i] = static_cast<float>(std::cos(angle) * magnitude);
    sin[i] = static_cast<float>(std::sin(angle) * magnitude);
  }
}

}  // namespace

RotaryFrequencies RotaryFrequencies::dynamic(double theta, int dims, double factor, int64_t context) {
  RotaryFrequencies frequencies;
  frequencies.theta_ = theta;
  frequencies.factor_ = factor;
  frequencies.context_ = context;
  for (int i = 0; i < dims / 2; ++i) frequencies.fixed_.push_back(std::pow(theta, -2.0 * i / dims));
  return frequencies;
}

std::vector<double> RotaryFrequencies::at(int64_t position) const {
  if (context_ == 0 || position < context_ || pairs() < 2) return fixed_;
  const double length = static_cast<double>(position + 1) / static_cast<double>(context_);
  const int dims = 2 * pairs();
  const double theta =
      theta_ * std::pow(factor_ * length - (factor_ - 1), static_cast<double>(dims) / (dims - 2));
  std::vector<double> frequencies(fixed_.size());
  for (int i = 0; i < pairs(); ++i) frequencies[i] = std::pow(theta, -2.0 * i / dims);
  return frequencies;
}

RotaryTable::RotaryTable(const RotaryFrequencies& frequencies, int64_t first, int rows, double magnitude)
    : pairs(frequencies.pairs()) {
  cos.resize(static_cast<size_t>(rows) * pairs);
  sin.resize(static_cast<size_t>(rows) * pairs);
  for (int r = 0; r < rows; ++r) {
    const size_t at = static_cast<size_t>(r) * pairs;
    fill_row(frequencies.at(first + r), first + r, magnitude, cos.data() + at, sin.data() + at);
  }
}

void rotation_between(const RotaryFrequencies& frequencies, int64_t from, int64_t to, float* cos,
                      float* sin) {
  const std::vector<double> before = frequencies.at(from), after = frequencies.at(to);
  for (size_t i = 0; i < before.size(); ++i) {
    const double angle = angle_of(to, after[i]) - angle_of(from, before[i]);
    cos[i] = static_cast<float>(std::cos(angle));
    sin[i] = static_cast<float>(std::sin(angle));
  }
}

void unrotate_half_split(const float* x, const float* cos, const float* sin, int pairs, int head_dim,
                         double* out) {
  for (int i = 0; i < pairs; ++i) {
    const double a = x[i], b = x[i + pairs], c = cos[i], s = sin[i];
    out[i] = a * c + b * s;
    out[i + pairs] = b * c - a * s;
  }
  for (int i = 2 * pairs; i < head_dim; ++i) out[i] = x[i];
}

}  // namespace kvlab
