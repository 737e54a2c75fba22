// First and second moments of vectors, summed up in double.
#pragma once

#include <cstdint>

namespace kvlab {

// sums[i] += x[t][i] and outer[i][j] += x[t][i] x[t][j] for j <= i and t < rows; x: [rows][n], outer: [n][n],
// whose entries above the diagonal are left undefined. Every entry is summed in the order of t, so cutting
// the rows into calls changes no bit.
void add_moments(const double* x, int rows, int n, double* sums, double* outer);

namespace reference {
void add_moments(const double* x, int rows, int n, double* sums, double* outer);
}  // namespace reference

}  // namespace kvlab
