// A model on disk as named tensors and settings, whatever the file format. Tensor names are those of Hugging
// Face checkpoints ("model.layers.0.self_attn.q_proj.weight"); the GGUF reader translates. Q and K rows come
// in the half-split rotary order of Hugging Face, whatever the file holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kvlab {

struct RotarySettings {
  enum class Kind { kDefault, kLlama3 };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  int dims = 0;  // rotated dimensions of a head
  // Llama 3.1's frequency scaling (kind kLlama3).
  double factor = 1.0, low_freq_factor = 1.0, high_freq_factor = 4.0;
  int64_t original_context = 0;
  // Frequency divisors from a GGUF file (rope_freqs.weight), dims/2 values; empty: none. They replace
  // kLlama3.
  std::vector<float> divisors;
};

struct ModelConfig {
  std::string architecture;  // "llama", ...; names a file of src/models
  std::string name;          // the file's stem, or the folder's name
  int layers = 0, hidden = 0, query_heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, vocab = 0;
  int64_t context = 0;  // tokens the model was trained for
  double norm_eps = 1e-5;
  bool tied_embeddings = false;
  RotarySettings rotary;
  std::string weight_types;  // for `kvlab info`: "q4_1 (210 tensors), f32 (61 tensors)"
};

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
  virtual std::vector<std::string> names() const = 0;
  // How the file stores a tensor: "f32", "bf16", "q4_1". Throws UserError when the tensor is missing.
  virtual std::string type(const std::string& /*name*/) const { return "f32"; }

  // The whole tensor; throws UserError naming file, tensor and both shapes when the shape differs from
  // `expected`.
  std::vector<float> read(const std::string& name, const std::vector<int64_t>& expected) const;
};

struct ModelFiles {
  ModelConfig config;
  std::shared_ptr<const Weights> weights;
};

// Opens a .gguf file or a Hugging Face folder. Reads settings only; tensors are read when asked for. Throws
// UserError.
ModelFiles open_model(const std::string& path);

}  // namespace kvlab
