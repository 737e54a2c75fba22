// A linear layer of a model: its packed weight for many rows and, when asked for, the quantised weights of
// the file as they are, which decoding reads faster.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "format/weights.h"
#include "kernels/gemm.h"
#include "kernels/narrow_gemm.h"
#include "kernels/quantised_gemv.h"
#include "models/tensors.h"

namespace kvlab {

// Which weights decoding reads: the packed ones, or the file's own where they are quantised in a way that is
// faster to read here.
enum class DecodeWeights { kPacked, kFile };

// Working memory of one thread for few rows.
struct NarrowScratch {
  NarrowInput packed;
  QuantisedInput quantised;
};

class Linear {
 public:
  // Reads and packs by all threads. Throws UserError as Weights::read_rows does.
  Linear(const Weights& weights, const LinearTensors& tensors, DType type, DecodeWeights decode);

  int out() const { return packed_.out(); }
  int in() const { return packed_.in(); }
  const PackedMatrix& packed() const { return packed_; }
  // y[r] = W x[r] + b; strides, threads and overlap as in kernels/gemm.h.
  void apply(const float* x, int64_t x_stride, int rows, float* y, int64_t y_stride,
             GemmScratch& scratch) const;
  // Whether narrow() can be used.
  bool has_narrow() const { return quantised_ || narrow_blocks(packed_) > 0; }
  // y[r] = W x[r] + b, or added to y, for rows <= kNarrowRows; only the share of the columns that falls to
  // member `member` of `members`. A result does not depend on their number.
  void narrow(const float* x, int64_t x_stride, int rows, int member, int members, float* y, int64_t y_stride,
              bool accumulate, NarrowScratch& scratch) const;
  // The packed weight as floats, [in][out], without the bias; by all threads.
  std::vector<float> transposed() const;
  // Bytes of weights that narrow() reads for so many rows, over all members.
  size_t narrow_bytes(int rows) const;

 private:
  bool reads_quantised(int rows) const { return quantised_ && rows <= kQuantisedRows; }
  void read_quantised(const Weights& weights, const std::vector<TensorRows>& parts);
  void add_bias(int first, int last, int rows, float* y, int64_t y_stride) const;

  PackedMatrix packed_;
  std::vector<float> bias_;  // empty: none
  std::optional<QuantisedMatrix> quantised_;
};

}  // namespace kvlab
