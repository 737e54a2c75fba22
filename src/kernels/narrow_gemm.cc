#include "kernels/narrow_gemm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/narrow_tile.h"

namespace kvlab {
namespace {

constexpr int kWord = 4;  // bytes
// Steps that several tiles of rows take in turn: the first one streams their weights from memory, 256 KB at
// most, and the others find them in the second-level cache. In small chunks memory would idle again and again
// while the later tiles compute: with 32 steps 8 rows take 1.2 times as long.
constexpr int kChunkSteps = 1024;
// Inputs are padded at least as far as any matrix is.
constexpr int kPadding = 32;

int round_up(int n, int unit) {
  return (n + unit - 1) / unit * unit;
}

int words_of(DType type, int inputs) {
  return type == DType::kBF16 ? inputs / 2 : inputs;
}

NarrowKernel kernel_of(DType type) {
  return type == DType::kBF16 ? narrow_kernel_bf16() : narrow_kernel_f32();
}

bool supported(const PackedMatrix& w, const ColumnBlocks& blocks) {
  return blocks.pairs == (w.type() == DType::kBF16) && blocks.block_columns == kNarrowColumns &&
         blocks.k_padded <= round_up(w.in(), kPadding) && kernel_of(w.type()) != nullptr;
}

// sums = x times one block of columns.
void multiply_block(NarrowKernel kernel, const std::byte* weights, int steps, const NarrowInput& x,
                    float* sums) {
  const int tiles = (x.rows + kTileRows - 1) / kTileRows;
  const int chunk = tiles == 1 ? steps : kChunkSteps;
  constexpr int64_t kStepBytes = kNarrowColumns * kWord;
  NarrowTile tile{};
  tile.x_stride = x.row_words;
  for (int step = 0; step < steps; step += chunk) {
    tile.weights = weights + step * kStepBytes;
    tile.steps = std::min(chunk, steps - step);
    tile.start = step == 0;
    for (int i = 0; i < tiles; ++i) {
      // The first tile, which waits for memory anyway, takes as many rows as it can.
      const int row = i * kTileRows;
      tile.rows = std::min(kTileRows, x.rows - row);
      tile.x = x.values.data() + (row * x.row_words + step) * kWord;
      tile.sums = sums + row * kNarrowColumns;
      kernel(tile);
    }
  }
}

void hand_out(const float* sums, int rows, int columns, float* y, int64_t y_stride, bool accumulate) {
  for (int r = 0; r < rows; ++r) {
    const float* from = sums + r * kNarrowColumns;
    float* to = y + r * y_stride;
    if (accumulate) {
      for (int c = 0; c < columns; ++c) to[c] += from[c];
    } else {
      std::copy_n(from, columns, to);
    }
  }
}

}  // namespace

void prepare_narrow(DType type, int in, const float* x, int64_t x_stride, int rows, NarrowInput& out) {
  KVLAB_CHECK(type == DType::kF32 || type == DType::kBF16);
  KVLAB_CHECK(in > 0 && rows > 0 && rows <= kNarrowRows);
  const int words = words_of(type, round_up(in, kPadding));
  out.type = type;
  out.in = in;
  out.rows = rows;
  // One cache line more than needed: with a power of two all rows would compete for the same places of the
  // cache.
  out.row_words = words + 64 / kWord;
  out.values.reserve_discard(static_cast<size_t>(rows * out.row_words * kWord));
  const size_t used = in * element_size(type);
  for (int r = 0; r < rows; ++r) {
    std::byte* row = out.values.data() + r * out.row_words * kWord;
    if (type == DType::kBF16) {
      to_bf16(x + r * x_stride, in, reinterpret_cast<BF16*>(row));
    } else {
      std::memcpy(row, x + r * x_stride, used);
    }
    std::memset(row + used, 0, static_cast<size_t>(words) * kWord - used);
  }
}

int narrow_blocks(const PackedMatrix& w) {
  const auto& blocks = w.column_blocks();
  return blocks && supported(w, *blocks) ? blocks->blocks : 0;
}

void narrow_linear(const PackedMatrix& w, const NarrowInput& x, int first_block, int last_block, float* y,
                   int64_t y_stride, bool accumulate) {
  const auto& blocks = w.column_blocks();
  KVLAB_CHECK(blocks && supported(w, *blocks));
  KVLAB_CHECK(x.type == w.type() && x.in == w.in());
  KVLAB_CHECK(first_block >= 0 && last_block <= blocks->blocks);
  const NarrowKernel kernel = kernel_of(w.type());
  const int steps = words_of(w.type(), blocks->k_padded);
  const int64_t stride = blocks->block_stride * static_cast<int64_t>(element_size(w.type()));
  alignas(64) float sums[kNarrowRows * kNarrowColumns];
  for (int b = first_block; b < last_block; ++b) {
    multiply_block(kernel, static_cast<const std::byte*>(blocks->data) + b * stride, steps, x, sums);
    const int column = b * kNarrowColumns;
    hand_out(sums, x.rows, std::min(kNarrowColumns, w.out() - column), y + column, y_stride, accumulate);
  }
}

}  // namespace kvlab
