#include "kernels/mean_rotation.h"

#include <cmath>

namespace kvlab {

// exp(i p f) summed over p in closed form: a geometric sum.
MeanRotation mean_rotation(const std::vector<double>& frequencies, int64_t first, int count) {
  MeanRotation mean;
  for (const double f : frequencies) {
    const double centre = (static_cast<double>(first) + (count - 1) / 2.0) * f;
    const double shrink = std::sin(f / 2) == 0 ? 1.0 : std::sin(count * f / 2) / (count * std::sin(f / 2));
    mean.cos.push_back(shrink * std::cos(centre));
    mean.sin.push_back(shrink * std::sin(centre));
  }
  return mean;
}

void MeanRotation::apply(double* x, int64_t stride) const {
  const auto pairs = static_cast<int64_t>(cos.size());
  for (int64_t i = 0; i < pairs; ++i) {
    double& a = x[i * stride];
    double& b = x[(i + pairs) * stride];
    const double rotated = a * cos[i] - b * sin[i];
    b = b * cos[i] + a * sin[i];
    a = rotated;
  }
}

}  // namespace kvlab
