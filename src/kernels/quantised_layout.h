// Inside quantised_linear: how a QuantisedMatrix lies in memory, and what a kernel of it is.
//
// A group of 16 outputs is a row of units, one for every 64 inputs (two blocks). A unit has whole cache
// lines:
//   codes of the first block, codes of the second block,
//   scales: f16[2][16] (block, output), minima: f16[2][16] (q4_1).
// A line of codes has 32 words of 16 bits, word 2 o + m for output o and member m of a pair of inputs. A word
// holds 4 codes of 4 bits or 2 of 8 bits, those of neighbouring pairs, the first pair lowest. So shifting a
// line by 0, 4, 8, 12 brings pair after pair of all outputs to the low bits of the words.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/quantised_gemv.h"

namespace kvlab {

inline constexpr int kBlockInputs = 32, kUnitInputs = 64, kCacheLine = 64;

struct QuantisedLayout {
  int bits;  // of a code; also the lines of codes that a block has
  bool minima;
  size_t file_block;  // bytes of a block of 32 weights in the file: f16 scale, f16 minimum, codes
  constexpr size_t code_bytes() const { return static_cast<size_t>(bits) * kCacheLine; }  // of a block
  constexpr size_t unit_bytes() const { return 2 * code_bytes() + (minima ? 2 : 1) * kCacheLine; }
};

constexpr QuantisedLayout quantised_layout(QuantisedType type) {
  switch (type) {
    case QuantisedType::kQ4_0:
      return {.bits = 4, .minima = false, .file_block = 18};
    case QuantisedType::kQ4_1:
      return {.bits = 4, .minima = true, .file_block = 20};
    case QuantisedType::kQ8_0:
      break;
  }
  return {.bits = 8, .minima = false, .file_block = 34};
}

// One group against all rows of x.
struct QuantisedTile {
  const std::byte* units;
  int unit_count;
  const QuantisedInput* x;
  float* sums;  // [rows][kQuantisedGroup], aligned to 64 bytes
};
using QuantisedKernel = void (*)(const QuantisedTile&);

// nullptr without AVX512_BF16.
QuantisedKernel quantised_kernel_avx512bf16(QuantisedType type);

}  // namespace kvlab
