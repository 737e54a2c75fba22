// By a Cholesky factor L of the n x n matrix: the leverage of x is the square of the length of L^-1 x.
#include "kernels/ridge_leverage.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/moments.h"

namespace kvlab {

namespace {

// Factorises the lower triangle of a: [n][n] in place. `least` bounds the pivots from below, as the ridge
// does in exact arithmetic.
void factorise(std::vector<double>& a, int n, double least) {
  for (int j = 0; j < n; ++j) {
    double* row = a.data() + static_cast<size_t>(j) * n;
    for (int i = 0; i < j; ++i) {
      const double* other = a.data() + static_cast<size_t>(i) * n;
      for (int c = 0; c < i; ++c) row[i] -= row[c] * other[c];
      row[i] /= other[i];
    }
    for (int c = 0; c < j; ++c) row[j] -= row[c] * row[c];
    row[j] = std::sqrt(std::max(row[j], least));
  }
}

double squared_length_solved(const std::vector<double>& factor, const double* x, int n,
                             std::vector<double>& y) {
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double* row = factor.data() + static_cast<size_t>(i) * n;
    double rest = x[i];
    for (int c = 0; c < i; ++c) rest -= row[c] * y[c];
    y[i] = rest / row[i];
    sum += y[i] * y[i];
  }
  return sum;
}

}  // namespace

void ridge_leverage(const double* x, int64_t rows, int n, double ridge, double* out) {
  constexpr int64_t kRows = 4096;  // that are added up in one call
  std::vector<double> sums(n), gram(static_cast<size_t>(n) * n), y(n);
  for (int64_t first = 0; first < rows; first += kRows)
    add_moments(x + first * n, static_cast<int>(std::min(kRows, rows - first)), n, sums.data(), gram.data());
  for (int i = 0; i < n; ++i) gram[static_cast<size_t>(i) * n + i] += ridge;
  factorise(gram, n, ridge);
  for (int64_t t = 0; t < rows; ++t) out[t] = squared_length_solved(gram, x + t * n, n, y);
}

}  // namespace kvlab
