#include "kernels/quantised_gemv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/quantised_layout.h"

namespace kvlab {
namespace {

int units_of(int in) {
  return (in + kUnitInputs - 1) / kUnitInputs;
}

void put_word(std::byte* at, uint32_t word) {
  const auto narrow = static_cast<uint16_t>(word);
  std::memcpy(at, &narrow, sizeof narrow);
}

uint16_t word_at(const std::byte* at) {
  uint16_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The codes of a block in the order of the inputs. In the file a byte of 4-bit codes holds inputs i (low) and
// i + 16.
std::array<uint8_t, kBlockInputs> block_codes(const std::byte* codes, int bits) {
  std::array<uint8_t, kBlockInputs> out;
  for (int i = 0; i < kBlockInputs; ++i) {
    const int byte = bits == 8 ? i : i % 16;
    const int value = std::to_integer<int>(codes[byte]);
    out[i] = static_cast<uint8_t>(bits == 8 ? value : i < 16 ? value & 15 : value >> 4);
  }
  return out;
}

// A block of output `o` of its group into its place; `unit` holds the block as its half 0 or 1.
void put_block(const QuantisedLayout& layout, const std::byte* block, int o, int half, std::byte* unit) {
  std::byte* scales = unit + 2 * layout.code_bytes() + (half * kQuantisedGroup + o) * 2;
  std::memcpy(scales, block, 2);
  if (layout.minima) std::memcpy(scales + kCacheLine, block + 2, 2);
  const auto codes = block_codes(block + (layout.minima ? 4 : 2), layout.bits);
  const int per_word = 16 / layout.bits;
  for (int line = 0; line < layout.bits; ++line) {
    for (int member = 0; member < 2; ++member) {
      uint32_t word = 0;
      for (int p = 0; p < per_word; ++p)
        word |= uint32_t{codes[2 * (line * per_word + p) + member]} << (layout.bits * p);
      put_word(unit + half * layout.code_bytes() + line * kCacheLine + (2 * o + member) * 2, word);
    }
  }
}

// What code i of output `o` counts, before the scale.
int code_value(QuantisedType type, const std::byte* codes, int o, int i) {
  const int bits = quantised_layout(type).bits, per_word = 16 / bits, pair = i / 2;
  const uint16_t word = word_at(codes + pair / per_word * kCacheLine + (2 * o + i % 2) * 2);
  const int code = word >> (bits * (pair % per_word)) & ((1 << bits) - 1);
  switch (type) {
    case QuantisedType::kQ4_0:
      return code - 8;
    case QuantisedType::kQ4_1:
      return code;
    case QuantisedType::kQ8_0:
      break;
  }
  return static_cast<int8_t>(code);
}

void multiply_plainly(QuantisedType type, const QuantisedTile& tile) {
  const QuantisedLayout layout = quantised_layout(type);
  const QuantisedInput& x = *tile.x;
  std::fill_n(tile.sums, x.rows * kQuantisedGroup, 0.0f);
  for (int block = 0; block < tile.unit_count * 2; ++block) {
    const std::byte* unit = tile.units + block / 2 * layout.unit_bytes();
    for (int o = 0; o < kQuantisedGroup; ++o) {
      const std::byte* scales = unit + 2 * layout.code_bytes() + (block % 2 * kQuantisedGroup + o) * 2;
      const float scale = half_to_float(word_at(scales));
      const float minimum = layout.minima ? half_to_float(word_at(scales + kCacheLine)) : 0.0f;
      float codes[kBlockInputs];
      for (int i = 0; i < kBlockInputs; ++i)
        codes[i] = static_cast<float>(code_value(type, unit + block % 2 * layout.code_bytes(), o, i));
      for (int r = 0; r < x.rows; ++r) {
        const BF16* values = x.values.data() + r * x.row_values + block * kBlockInputs;
        float sum = 0;
        for (int i = 0; i < kBlockInputs; ++i) sum += codes[i] * to_float(values[i]);
        tile.sums[r * kQuantisedGroup + o] += scale * sum + minimum * x.sums[r * x.row_sums + block];
      }
    }
  }
}

template <typename Kernel>
void multiply_groups(const QuantisedMatrix& w, const QuantisedInput& x, int first_group, int last_group,
                     float* y, int64_t y_stride, bool accumulate, Kernel&& kernel) {
  KVLAB_CHECK(x.in == w.in() && first_group >= 0 && last_group <= w.groups());
  alignas(64) float sums[kQuantisedRows * kQuantisedGroup];
  for (int group = first_group; group < last_group; ++group) {
    kernel(QuantisedTile{.units = w.group(group), .unit_count = units_of(w.in()), .x = &x, .sums = sums});
    const int column = group * kQuantisedGroup, columns = std::min(kQuantisedGroup, w.out() - column);
    for (int r = 0; r < x.rows; ++r) {
      float* to = y + r * y_stride + column;
      for (int c = 0; c < columns; ++c) to[c] = (accumulate ? to[c] : 0.0f) + sums[r * kQuantisedGroup + c];
    }
  }
}

}  // namespace

std::optional<QuantisedType> quantised_type(const std::string& name) {
  if (name == "q4_0") return QuantisedType::kQ4_0;
  if (name == "q4_1") return QuantisedType::kQ4_1;
  if (name == "q8_0") return QuantisedType::kQ8_0;
  return std::nullopt;
}

size_t quantised_row_bytes(QuantisedType type, int in) {
  return static_cast<size_t>(in / kBlockInputs) * quantised_layout(type).file_block;
}

QuantisedMatrix::QuantisedMatrix(QuantisedType type, int out, int in)
    : type_(type),
      out_(out),
      in_(in),
      group_bytes_(static_cast<size_t>(units_of(in)) * quantised_layout(type).unit_bytes()) {
  KVLAB_CHECK(out > 0 && in > 0);
  if (in % kBlockInputs != 0) {
    throw UserError(fmt::format("a quantised weight with rows of {} numbers (expected a multiple of {})", in,
                                kBlockInputs));
  }
  units_ = Buffer<std::byte, Account::kWeights>(static_cast<size_t>(groups()) * group_bytes_);
  units_.zero();
}

void QuantisedMatrix::put_rows(int first, int count, const std::byte* blocks) {
  KVLAB_CHECK(first >= 0 && count >= 0 && first <= out_ - count);
  const QuantisedLayout layout = quantised_layout(type_);
  for (int row = first; row < first + count; ++row) {
    std::byte* group = units_.data() + static_cast<size_t>(row / kQuantisedGroup) * group_bytes_;
    for (int block = 0; block < in_ / kBlockInputs; ++block) {
      put_block(layout, blocks, row % kQuantisedGroup, block % 2, group + block / 2 * layout.unit_bytes());
      blocks += layout.file_block;
    }
  }
}

void prepare_quantised(int in, const float* x, int64_t x_stride, int rows, QuantisedInput& out) {
  KVLAB_CHECK(in > 0 && in % kBlockInputs == 0 && rows > 0 && rows <= kQuantisedRows);
  const int padded = units_of(in) * kUnitInputs;
  out.in = in;
  out.rows = rows;
  out.row_values = padded;
  out.row_sums = padded / kBlockInputs;
  out.values.reserve_discard(static_cast<size_t>(rows * out.row_values));
  out.sums.reserve_discard(static_cast<size_t>(rows * out.row_sums));
  for (int r = 0; r < rows; ++r) {
    BF16* values = out.values.data() + r * out.row_values;
    to_bf16(x + r * x_stride, in, values);
    std::fill(values + in, values + padded, BF16{});
    for (int block = 0; block < out.row_sums; ++block) {
      float sum = 0;
      for (int i = 0; i < kBlockInputs; ++i) sum += to_float(values[block * kBlockInputs + i]);
      out.sums[r * out.row_sums + block] = sum;
    }
  }
}

bool quantised_is_fast() {
  return quantised_kernel_avx512bf16(QuantisedType::kQ4_0) != nullptr;
}

void quantised_linear(const QuantisedMatrix& w, const QuantisedInput& x, int first_group, int last_group,
                      float* y, int64_t y_stride, bool accumulate) {
  const QuantisedKernel kernel = quantised_kernel_avx512bf16(w.type());
  if (!kernel) return reference::quantised_linear(w, x, first_group, last_group, y, y_stride, accumulate);
  multiply_groups(w, x, first_group, last_group, y, y_stride, accumulate, kernel);
}

namespace reference {
void quantised_linear(const QuantisedMatrix& w, const QuantisedInput& x, int first_group, int last_group,
                      float* y, int64_t y_stride, bool accumulate) {
  multiply_groups(w, x, first_group, last_group, y, y_stride, accumulate,
                  [&](const QuantisedTile& tile) { multiply_plainly(w.type(), tile); });
}
}  // namespace reference

}  // namespace kvlab
