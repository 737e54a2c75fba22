#include <algorithm>

#include "models/linear.h"

#include "base/threads.h"
#include "kernels/elementwise.h"

namespace kvlab {

namespace {

int rows_of(const std::vector<TensorRows>& parts) {
  int rows = 0;
  for (const TensorRows& part : parts) rows += part.rows;
  return rows;
}

PackedMatrix pack(const Weights& weights, const LinearTensors& tensors, DType type) {
  const int64_t in = tensors.in;
  const auto read = [&](int first, int rows, float* out) {
    int begin = 0;  // of a part, among all rows
    for (const TensorRows& part : tensors.weight) {
      const int from = std::max(first, begin), to = std::min(first + rows, begin + part.rows);
      if (from < to)
        weights.read_rows(part.tensor, part.first + from - begin, to - from, out + (from - first) * in);
      begin += part.rows;
    }
  };
  return PackedMatrix(read, rows_of(tensors.weight), tensors.in, type);
}

std::vector<float> read_bias(const Weights& weights, const std::vector<TensorRows>& parts) {
  std::vector<float> bias;
  std::string tensor;
  std::vector<float> values;
  for (const TensorRows& part : parts) {
    if (part.tensor != tensor) values = weights.read(part.tensor, weights.shape(part.tensor));
    tensor = part.tensor;
    bias.insert(bias.end(), values.begin() + part.first, values.begin() + part.first + part.rows);
  }
  return bias;
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

Linear::Linear(const Weights& weights, const LinearTensors& tensors, DType type, DecodeWeights decode)
    : packed_(pack(weights, tensors, type)), bias_(read_bias(weights, tensors.bias)) {
  // Next to f32 weights those of the file would not be the same computation any more: their input is rounded.
  if (decode == DecodeWeights::kFile && type == DType::kBF16 && quantised_is_fast())
    read_quantised(weights, tensors.weight);
}

void Linear::read_quantised(const Weights& weights, const std::vector<TensorRows>& parts) {
  const std::string name = weights.type(parts[0].tensor);
  const std::optional<QuantisedType> type = quantised_type(name);
  if (!type) return;
  const size_t row_bytes = quantised_row_bytes(*type, in());
  QuantisedMatrix matrix(*type, out(), in());
  std::vector<std::byte> blocks;
  int row = 0;
  for (const TensorRows& part : parts) {
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

void Linear::add_bias(int first, int last, int rows, float* y, int64_t y_stride) const {
  for (int r = 0; r < rows; ++r) add_to(bias_.data() + first, last - first, y + r * y_stride + first);
}

void Linear::apply(const float* x, int64_t x_stride, int rows, float* y, int64_t y_stride,
                   GemmScratch& scratch) const {
  linear(packed_, x, x_stride, rows, y, y_stride, scratch);
  if (!bias_.empty()) add_bias(0, out(), rows, y, y_stride);
}

void Linear::narrow(const float* x, int64_t x_stride, int rows, int member, int members, float* y,
                    int64_t y_stride, bool accumulate, NarrowScratch& scratch) const {
  Share share;
  int columns;  // of a thing that is shared out
  if (reads_quantised(rows)) {
    prepare_quantised(in(), x, x_stride, rows, scratch.quantised);
    share = share_of(quantised_->groups(), member, members);
    columns = kQuantisedGroup;
    quantised_linear(*quantised_, scratch.quantised, share.first, share.last, y, y_stride, accumulate);
  } else {
    prepare_narrow(packed_.type(), in(), x, x_stride, rows, scratch.packed);
    share = share_of(narrow_blocks(packed_), member, members);
    columns = kNarrowColumns;
    narrow_linear(packed_, scratch.packed, share.first, share.last, y, y_stride, accumulate);
  }
  if (!bias_.empty() && share.first < share.last)
    add_bias(share.first * columns, std::min(out(), share.last * columns), rows, y, y_stride);
}

std::vector<float> Linear::transposed() const {
  std::vector<float> result(static_cast<size_t>(in()) * out());
  // The identity times the weight, some rows at a time: exact, whatever layout oneDNN has chosen.
  parallel_tasks((in() + kGemmRows - 1) / kGemmRows, [&](int block, int) {
    const int first = block * kGemmRows, rows = std::min(kGemmRows, in() - first);
    std::vector<float> unit(static_cast<size_t>(rows) * in());
    for (int r = 0; r < rows; ++r) unit[static_cast<size_t>(r) * in() + first + r] = 1;
    GemmScratch scratch;
    linear(packed_, unit.data(), in(), rows, result.data() + static_cast<int64_t>(first) * out(), out(),
           scratch);
  });
  return result;
}

size_t Linear::narrow_bytes(int rows) const {
  return reads_quantised(rows) ? quantised_->bytes() : packed_.bytes();
}

}  // namespace kvlab
