// A model on disk as named tensors, whatever the file format. Tensor names and the order of their rows are
// those of Hugging Face checkpoints ("model.layers.0.self_attn.q_proj.weight", rotary half-split); the GGUF
// reader translates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kvlab {

// The tensors of a model, memory-mapped. Thread-safe for reading.
class Weights {
 public:
  virtual ~Weights() = default;
  virtual const std::string& path() const = 0;
  virtual bool has(const std::string& name) const = 0;
  // Sizes, slowest first: a linear layer's weight is {out, in}. Throws UserError naming file and tensor when
  // missing.
  virtual std::vector<int64_t> shape(const std::string& name) const = 0;
  // Dequantises rows [first, first + count) of a tensor (a vector is one row) to float. Throws UserError.
  virtual void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const = 0;
  // The same rows as the file stores them, in blocks of type(name); `out` has the size of them. False: this
  // format has no blocks to hand out. Throws UserError.
  virtual bool read_blocks(const std::string& /*name*/, int64_t /*first*/, int64_t /*count*/,
                           std::span<std::byte> /*out*/) const {
    return false;
  }
  // Gives back the memory of file pages that were read; they are read again when asked for.
  virtual void release() const {}
  virtual std::vector<std::string> names() const = 0;
  // How the file stores a tensor: "f32", "bf16", "q4_1". Throws UserError when the tensor is missing.
  virtual std::string type(const std::string& /*name*/) const { return "f32"; }

  // The whole tensor; throws UserError naming file, tensor and both shapes when the shape differs from
  // `expected`.
  std::vector<float> read(const std::string& name, const std::vector<int64_t>& expected) const;
};

// "[576, 49152]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace kvlab
