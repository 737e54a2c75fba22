// Statistical leverage: how far each of some vectors stands out from what all of them span.
#pragma once

#include <cstdint>

namespace kvlab {

// out[t] = x_t^T (X^T X + ridge I)^-1 x_t for t < rows, in [0, 1); x: [rows][n], ridge > 0.
void ridge_leverage(const double* x, int64_t rows, int n, double ridge, double* out);

}  // namespace kvlab
