// Inside narrow_linear: a tile is some rows of x times one block of columns over some of the inputs, and each
// instruction set has a kernel for it.
//
// All sizes along the inputs are in words of 4 bytes: a float, or a pair of bf16. So both types have the same
// geometry: at each step one word of each row of x meets a line of kNarrowColumns words of weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/narrow_gemm.h"

namespace kvlab {

inline constexpr int kTileRows = 6;  // 6 rows x 4 vectors of sums, 4 of weights: 28 of AVX-512's 32 registers

struct NarrowTile {
  const std::byte* weights;  // [steps][kNarrowColumns] words, aligned to 64 bytes
  const std::byte* x;        // [rows][x_stride] words, at the first step
  int64_t x_stride;
  int rows;     // 1 to kTileRows
  int steps;    // words along the inputs
  bool start;   // the sums begin at zero
  float* sums;  // [rows][kNarrowColumns], aligned to 64 bytes
};

using NarrowKernel = void (*)(const NarrowTile&);

NarrowKernel narrow_kernel_f32();
// nullptr without AVX512_BF16.
NarrowKernel narrow_kernel_bf16();

}  // namespace kvlab
