// Linear layers with the quantised weights of a GGUF file for one row or a few, as in decoding. Reading the
// weights takes the time there, so reading 4 or 8 bits a weight instead of 16 makes it shorter by as much.
//
// Weights are exactly those of the file: d q + m, where d, m and q are a block's scale, its minimum (q4_1)
// and a weight's code. Only x is rounded, to bf16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

enum class QuantisedType { kQ4_0, kQ4_1, kQ8_0 };

// Of a type's name in the file, such as "q4_1"; nullopt: it cannot be multiplied as it is.
std::optional<QuantisedType> quantised_type(const std::string& name);
// Bytes of one row of `in` weights in a file. `in` is a multiple of 32, the length of a block.
size_t quantised_row_bytes(QuantisedType type, int in);

// Rows that one call takes at most, and outputs of a group, the unit of sharing out.
inline constexpr int kQuantisedRows = 4, kQuantisedGroup = 16;

// A weight [out][in] with 16 outputs interleaved, so that a lane of a vector is an output. Movable; may be
// read by many threads at once.
class QuantisedMatrix {
 public:
  // All weights are zero. Throws UserError unless `in` is a multiple of 32.
  QuantisedMatrix(QuantisedType type, int out, int in);
  // Rows [first, first + count) from the file's blocks, row after row. Matrices of one type and input are
  // joined by putting their rows one after the other.
  void put_rows(int first, int count, const std::byte* blocks);

  QuantisedType type() const { return type_; }
  int out() const { return out_; }
  int in() const { return in_; }
  int groups() const { return (out_ + kQuantisedGroup - 1) / kQuantisedGroup; }
  // Counted under Account::kWeights.
  size_t bytes() const { return units_.bytes(); }
  const std::byte* group(int index) const { return units_.data() + index * group_bytes_; }

 private:
  QuantisedType type_;
  int out_, in_;
  size_t group_bytes_;
  Buffer<std::byte, Account::kWeights> units_;  // see quantised_layout.h
};

// Input rows as the kernels read them. One input serves every matrix of its number of inputs.
struct QuantisedInput {
  int in = 0, rows = 0;
  int64_t row_values = 0, row_sums = 0;  // from one row to the next
  Buffer<BF16> values;                   // zero beyond `in`
  Buffer<float> sums;                    // of each block of 32 values
};

// x: `rows` (1 to kQuantisedRows) rows of `in` floats, x_stride floats apart; rounded to nearest even.
void prepare_quantised(int in, const float* x, int64_t x_stride, int rows, QuantisedInput& out);

// y[r * y_stride + c] = sum_i x[r][i] w[c][i] for every row of x and every column c < w.out() of the groups
// [first_group, last_group); with `accumulate` the sum is added to y. Works on the calling thread alone.
// Every output is one chain of sums in f32: it depends neither on the groups of a call nor on its rows.
void quantised_linear(const QuantisedMatrix& w, const QuantisedInput& x, int first_group, int last_group,
                      float* y, int64_t y_stride, bool accumulate);
// Whether this processor has the instructions that make quantised_linear faster than narrow_linear. Without
// them it runs plain loops.
bool quantised_is_fast();

namespace reference {
void quantised_linear(const QuantisedMatrix& w, const QuantisedInput& x, int first_group, int last_group,
                      float* y, int64_t y_stride, bool accumulate);
}  // namespace reference

}  // namespace kvlab
