// Plain references: double sums, no vectors. The tests compare the kernels with these.
#include <cmath>

#include "kernels/elementwise.h"

namespace kvlab::reference {

void rms_norm(const float* x, const float* weight, float eps, int n, float* out) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  const double scale = 1.0 / std::sqrt(sum / n + double{eps});
  for (int i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * scale * weight[i]);
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / n;
  for (int i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1.0 / std::sqrt(squares / n + double{eps});
  for (int i = 0; i < n; ++i) out[i] = static_cast<float>((x[i] - mean) * scale * weight[i] + bias[i]);
}

void silu_mul(const float* gate, const float* up, int n, float* out) {
  for (int i = 0; i < n; ++i) {
    const double g = gate[i];
    out[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
}

void rotate_half_split(float* x, const float* cos, const float* sin, int dims) {
  const int half = dims / 2;
  for (int i = 0; i < half; ++i) {
    const double a = x[i], b = x[i + half];
    x[i] = static_cast<float>(a * cos[i] - b * sin[i]);
    x[i + half] = static_cast<float>(b * cos[i] + a * sin[i]);
  }
}

namespace {
double log_sum_exp(const float* logits, int n) {
  double max = logits[0];
  for (int i = 1; i < n; ++i) max = std::fmax(max, logits[i]);
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += std::exp(logits[i] - max);
  return max + std::log(sum);
}
}  // namespace

double nll(const float* logits, int n, int32_t target) {
  return log_sum_exp(logits, n) - logits[target];
}

double kl(const float* base, const float* own, int n) {
  const double base_lse = log_sum_exp(base, n), own_lse = log_sum_exp(own, n);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double base_log = base[i] - base_lse, own_log = own[i] - own_lse;
    sum += std::exp(base_log) * (base_log - own_log);
  }
  return sum;
}

}  // namespace kvlab::reference
