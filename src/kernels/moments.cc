// Tiles of the outer product stay in registers while all rows are added to them.
#include "kernels/moments.h"

#include "kernels/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/moments.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names
namespace hn = hwy::HWY_NAMESPACE;

using DD = hn::CappedTag<double, 8>;
using VD = hn::Vec<DD>;
constexpr int kDoubles = static_cast<int>(HWY_LANES(double) < 8 ? HWY_LANES(double) : 8);
// kTall x 2 vectors of sums: 16 of AVX-512's 32 registers, 8 of AVX2's 16.
constexpr int kTall = kDoubles == 8 ? 8 : 4;

// outer[i][column ...] += x[t][i] x[t][column ...] for i < kRows, for kColumns vectors.
template <int kRows, int kColumns>
HWY_INLINE void add_tile(const double* HWY_RESTRICT x, int rows, int n, int first, int column,
                         double* HWY_RESTRICT outer) {
  const DD d;
  double* out = outer + static_cast<int64_t>(first) * n + column;
  VD sums[kRows][kColumns];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) sums[r][c] = hn::LoadU(d, out + r * n + c * kDoubles);
  for (int t = 0; t < rows; ++t, x += n) {
    VD right[kColumns];
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) right[c] = hn::LoadU(d, x + column + c * kDoubles);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const VD left = hn::Set(d, x[first + r]);
#pragma GCC unroll 2
      for (int c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(left, right[c], sums[r][c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) hn::StoreU(sums[r][c], d, out + r * n + c * kDoubles);
}

// Rows [first, first + kRows) of the lower triangle, with what lies right of the diagonal in the same tiles.
template <int kRows>
void add_rows(const double* x, int rows, int n, int first, double* outer) {
  const int end = first + kRows;  // columns needed
  int column = 0;
  for (; column < end && column + 2 * kDoubles <= n; column += 2 * kDoubles)
    add_tile<kRows, 2>(x, rows, n, first, column, outer);
  for (; column < end && column + kDoubles <= n; column += kDoubles)
    add_tile<kRows, 1>(x, rows, n, first, column, outer);
  for (; column < end; ++column) {
    for (int r = 0; r < kRows; ++r) {
      double& sum = outer[static_cast<int64_t>(first + r) * n + column];
      for (int t = 0; t < rows; ++t)
        sum += x[static_cast<int64_t>(t) * n + first + r] * x[static_cast<int64_t>(t) * n + column];
    }
  }
}

void AddMoments(const double* x, int rows, int n, double* sums, double* outer) {
  for (int t = 0; t < rows; ++t) {
    for (int i = 0; i < n; ++i) sums[i] += x[static_cast<int64_t>(t) * n + i];
  }
  int first = 0;
  for (; first + kTall <= n; first += kTall) add_rows<kTall>(x, rows, n, first, outer);
  for (; first < n; ++first) add_rows<1>(x, rows, n, first, outer);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(AddMoments);

void add_moments(const double* x, int rows, int n, double* sums, double* outer) {
  HWY_DYNAMIC_DISPATCH(AddMoments)(x, rows, n, sums, outer);
}

namespace reference {

void add_moments(const double* x, int rows, int n, double* sums, double* outer) {
  for (int t = 0; t < rows; ++t) {
    const double* row = x + static_cast<int64_t>(t) * n;
    for (int i = 0; i < n; ++i) {
      sums[i] += row[i];
      for (int j = 0; j <= i; ++j) outer[static_cast<int64_t>(i) * n + j] += row[i] * row[j];
    }
  }
}

}  // namespace reference
}  // namespace kvlab
#endif  // HWY_ONCE
