#include "kernels/rotary_table.h"

#include <cmath>

namespace kvlab {

RotaryTable::RotaryTable(const std::vector<double>& frequencies, int64_t first, int rows)
    : pairs(static_cast<int>(frequencies.size())) {
  cos.resize(static_cast<size_t>(rows) * pairs);
  sin.resize(static_cast<size_t>(rows) * pairs);
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < pairs; ++i) {
      // The angle is rounded to float, as the reference implementations do: at far positions that shifts it
      // by more than the float cosine does, and losses are compared with theirs.
      const float angle = static_cast<float>(first + r) * static_cast<float>(frequencies[i]);
      cos[static_cast<size_t>(r) * pairs + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      sin[static_cast<size_t>(r) * pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
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
