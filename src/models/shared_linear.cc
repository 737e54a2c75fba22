#include <algorithm>

#include "models/linear.h"

namespace kvlab {

namespace {

PackedMatrix pack(const Weights& weights, const std::vector<Linear::Part>& parts, int in, DType type) {
  int out = 0;
  for (const Linear::Part& part : parts) out += part.rows;
  std::vector<float> rows(static_cast<size_t>(out) * in);
  float* to = rows.data();
  for (const Linear::Part& part : parts) {
    weights.read_rows(part.tensor, part.first, part.rows, to);
    to += static_cast<size_t>(part.rows) * in;
  }
  return PackedMatrix(rows.data(), out, in, type);
}

// Things [first, last) that fall to a member.
struct Share {
  int first, last;
};
Share share_of(int count, int member, int members) {
  return {static_cast<int>(int64_t{count} * member / members),
          static_cast<int>(int64_t{count} * (member + 1) / members)};
}

}  // namespace

Linear::Linear(const Weights& weights, std::vector<Part> parts, int in, DType type, DecodeWeights decode)
    : packed_(pack(weights, parts, in, type)) {
  // Next to f32 weights those of the file would not be the same computation any more: their input is rounded.
  if (decode == DecodeWeights::kFile && type == DType::kBF16 && quantised_is_fast())
    read_quantised(weights, parts);
}

void Linear::read_quantised(const Weights& weights, const std::vector<Part>& parts) {
  const std::string name = weights.type(parts[0].tensor);
  const std::optional<QuantisedType> type = quantised_type(name);
  if (!type) return;
  const size_t row_bytes = quantised_row_bytes(*type, in());
  QuantisedMatrix matrix(*type, out(), in());
  std::vector<std::byte> blocks;
  int row = 0;
  for (const Part& part : parts) {
    blocks.resize(row_bytes * part.rows);
    if (weights.type(part.tensor) != name ||
        !weights.read_blocks(part.tensor, part.first, part.rows, blocks)) {
      return;  // tensors of different types are not one matrix
    }
    matrix.put_rows(row, part.rows, blocks.data());
    row += part.rows;
  }
  quantised_ = std::move(matrix);
}

void Linear::narrow(const float* x, int64_t x_stride, int rows, int member, int members, float* y,
                    int64_t y_stride, bool accumulate, NarrowScratch& scratch) const {
  if (reads_quantised(rows)) {
    prepare_quantised(in(), x, x_stride, rows, scratch.quantised);
    const Share share = share_of(quantised_->groups(), member, members);
    quantised_linear(*quantised_, scratch.quantised, share.first, share.last, y, y_stride, accumulate);
    return;
  }
  prepare_narrow(packed_.type(), in(), x, x_stride, rows, scratch.packed);
  const Share share = share_of(narrow_blocks(packed_), member, members);
  narrow_linear(packed_, scratch.packed, share.first, share.last, y, y_stride, accumulate);
}

size_t Linear::narrow_bytes(int rows) const {
  return reads_quantised(rows) ? quantised_->bytes() : packed_.bytes();
}

}  // namespace kvlab
