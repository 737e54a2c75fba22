// Linear layers for few rows, as in decoding, where reading the weights takes the time: y = x W^T straight
// from the memory of a PackedMatrix, each weight read once for all rows. The caller shares the columns out
// among its threads.
//
// Every output is one chain of sums over the inputs in order, so results depend neither on how columns are
// shared out nor on the number of rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// Rows that one call takes at most.
inline constexpr int kNarrowRows = 16;
// Columns of a block, the unit of sharing out. The last block may reach beyond the matrix.
inline constexpr int kNarrowColumns = 64;

// Input rows as the kernels read them: floats, or pairs of bf16, which are as large. One input serves every
// matrix of its type and number of inputs.
struct NarrowInput {
  DType type = DType::kF32;
  int in = 0, rows = 0;
  int64_t row_words = 0;     // from one row to the next, in words of 4 bytes
  Buffer<std::byte> values;  // [rows][row_words]; zero beyond `in`
};

// x: `rows` (1 to kNarrowRows) rows of `in` floats, x_stride floats apart. With kBF16 they are rounded to
// nearest even.
void prepare_narrow(DType type, int in, const float* x, int64_t x_stride, int rows, NarrowInput& out);

// Blocks of columns of the matrix. 0: its layout has no kernel here; use linear().
int narrow_blocks(const PackedMatrix& w);

// y[r * y_stride + c] = sum_i x[r][i] w[c][i] for every row of x and every column c < w.out() of the blocks
// [first_block, last_block); with `accumulate` the sum is added to y. Works on the calling thread alone; x, w
// and y may be shared by threads with different blocks. Sums are f32. y must not overlap x.
void narrow_linear(const PackedMatrix& w, const NarrowInput& x, int first_block, int last_block, float* y,
                   int64_t y_stride, bool accumulate);

}  // namespace kvlab
