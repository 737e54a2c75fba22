// Products of plain row-major f32 matrices: for work whose matrices change at every step, such as training,
// where packing one (kernels/gemm.h) would not pay.
#pragma once

#include <cstdint>

namespace kvlab {

// A matrix in memory: element (r, c) stands at data[r * stride + c], or, transposed, at data[c * stride + r].
struct MatrixView {
  const float* data = nullptr;
  int64_t stride = 0;
  bool transposed = false;
};

// c = a b, or c += a b; a: [rows][inner], b: [inner][columns], c: [rows][columns]. The calling thread works
// alone, so that a result never depends on the number of threads.
void multiply(int rows, int columns, int inner, MatrixView a, MatrixView b, float* c, int64_t c_stride,
              bool accumulate = false);

// Of a matrix [blocks * rows][columns] the products W W^T of each block of rows: grams is
// [blocks][rows][rows].
// ||W^T v||^2 = v^T W W^T v then costs no more than v is long, however many columns there are. By all
// threads.
void block_grams(const float* matrix, int blocks, int rows, int columns, float* grams);

}  // namespace kvlab
