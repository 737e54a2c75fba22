// What a model computes, whatever the file it came from: sizes, rotary positions, norms, activations,
// windows. Readers of config.json and of GGUF metadata fill it in; architectures (models/architecture.h) add
// what their files leave unsaid and refuse what they do not have.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "format/weights.h"
#include "kernels/activations.h"

namespace kvlab {

struct RotarySettings {
  // kLinear: positions divided by `factor`. kDynamic: dynamic NTK, whose base grows with the text. kLlama3:
  // Llama 3.1. kYarn: Peng et al., arXiv:2309.00071.
  enum class Kind { kDefault, kLinear, kDynamic, kLlama3, kYarn };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  int dims = 0;                  // rotated dimensions of a head
  double factor = 1.0;           // all but kDefault
  int64_t original_context = 0;  // kDynamic, kLlama3, kYarn: tokens trained for before scaling
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // kLlama3
  double beta_fast = 32.0, beta_slow = 1.0;              // kYarn
  bool truncate = true;                                  // kYarn: whole dimensions as the ramp's ends
  double magnitude = 1.0;  // kYarn: what cos and sin are multiplied by (the attention factor)
  // Frequency divisors from a GGUF file (rope_freqs.weight), dims/2 values; empty: none. They replace
  // kLlama3.
  std::vector<float> divisors;
};

enum class NormKind { kRms, kLayer };

struct ModelConfig {
  std::string architecture;  // "llama", ...; names a file of src/models/architectures
  std::string name;          // the file's stem, or the folder's name
  int layers = 0, hidden = 0, query_heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, vocab = 0;
  int64_t context = 0;  // tokens the model was trained for
  double norm_eps = 1e-5;
  bool tied_embeddings = false;
  RotarySettings rotary;
  NormKind norm = NormKind::kRms;
  Activation activation = Activation::kSilu;
  // Biases of the query, key and value projections, of the output projection, and of the MLP.
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool parallel_residual = false;  // attention and MLP read the same input and are added together
  // Per layer: a query sees the newest so many tokens, itself included; 0: all. Empty: all, in every layer.
  std::vector<int64_t> windows;
  // Rotary positions of layers with a window, where they have their own.
  std::optional<RotarySettings> window_rotary;
  double query_scale = 0;      // scores are this times q.k; 0: 1 / sqrt(head_dim)
  double embedding_scale = 1;  // embeddings are multiplied by this
  bool unit_offset = false;    // norms multiply by 1 + weight
  std::string weight_types;    // for `kvlab info`: "q4_1 (210 tensors), f32 (61 tensors)"

  int64_t window(int layer) const { return windows.empty() ? 0 : windows[layer]; }
  const RotarySettings& rotary_of(int layer) const {
    return window(layer) > 0 && window_rotary ? *window_rotary : rotary;
  }
};

struct ModelFiles {
  ModelConfig config;
  std::shared_ptr<const Weights> weights;
  // What a reader should tell its user: tensors that are not used, by name and shape.
  std::vector<std::string> notes;
};

// Opens a .gguf file or a Hugging Face folder. Reads settings and checks the names and shapes of all tensors;
// their values are read when asked for. Throws UserError: what the architecture needs and kvlab lacks, by the
// name of the feature; tensors that are missing or of another shape, by name and shapes.
ModelFiles open_model(const std::string& path);

}  // namespace kvlab
