// Linear layers: y = x W^T with W packed once. oneDNN does the arithmetic; this file hides its layouts, its
// primitives and its threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// True when the CPU multiplies pairs of bf16 numbers in one instruction. Where it is false bf16 matrices are
// no faster than f32 ones, or cannot be packed at all: choose f32 there. Follows ONEDNN_MAX_CPU_ISA.
bool cpu_has_bf16_dot();

// Rows a primitive takes; longer inputs are cut into blocks of this size.
inline constexpr int kGemmRows = 64;

// A packed weight whose columns (the outputs) lie in blocks, one after the other. A block is a row-major
// matrix [k_padded][block_columns]; with `pairs` it is [k_padded / 2][block_columns][2], so that two
// neighbouring inputs of a column stand together. What is beyond the matrix's own sizes is zero.
struct ColumnBlocks {
  const void* data;
  int block_columns;
  int blocks;
  int64_t block_stride;  // in elements
  int k_padded;          // inputs, rounded up; with `pairs` even
  bool pairs;
};

// The weight of a linear layer in the layout that suits the CPU. Movable; may be used by many threads at
// once.
class PackedMatrix {
 public:
  // weight: row-major [out][in]; it is not kept. type: f32 or bf16 (values are then rounded to nearest even).
  // Throws UserError when the CPU has no fast bf16 path.
  PackedMatrix(const float* weight, int out, int in, DType type);
  // Hands out rows [first, first + rows) of the weight, row-major; called by several threads.
  using ReadRows = std::function<void(int first, int rows, float* out)>;
  // The same from rows that all threads read piece by piece: the weight is never whole in memory as floats.
  PackedMatrix(const ReadRows& read, int out, int in, DType type);
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&& other) noexcept;
  PackedMatrix& operator=(PackedMatrix&& other) noexcept;

  int out() const;
  int in() const;
  DType type() const;
  // Bytes of the packed weight, counted under Account::kWeights.
  size_t bytes() const;
  // What bytes() of such a matrix will be.
  static size_t packed_bytes(int out, int in, DType type);
  // The packed weight, for kernels that read it themselves; nullopt when oneDNN chose another layout.
  const std::optional<ColumnBlocks>& column_blocks() const;

  struct Impl;  // defined in gemm.cc
  const Impl& impl() const { return *impl_; }

 private:
  PackedMatrix(int out, int in, DType type);
  std::unique_ptr<Impl> impl_;
};

// Working memory of one thread; it grows to what the largest call needs.
struct GemmScratch {
  Buffer<float> x, y;
  Buffer<BF16> x16;
  Buffer<std::byte> workspace;  // oneDNN's scratchpad
};

// y[r][o] = sum_i x[r][i] w[o][i] for r < rows. With a bf16 matrix x is rounded to bf16 first; sums and y are
// f32. Inside an OpenMP parallel region the calling thread works alone; outside all threads share the call.
// Strides are in floats. x and y must not overlap.
void linear(const PackedMatrix& w, const float* x, int64_t x_stride, int rows, float* y, int64_t y_stride,
            GemmScratch& scratch);

}  // namespace kvlab
