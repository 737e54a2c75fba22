// Tiny random models on disk, for tests that need a real model to load but not a good one. The same options
// always give the same weights, in whichever format they are written.
//
//   TempFolder folder;
//   const auto hf = write_tiny_hf({}, folder.path() / "model");            // config.json, model.safetensors
//   const auto gguf = write_tiny_gguf({}, folder.path() / "model.gguf");   // the same numbers
//   ModelFiles files = open_model(hf.string());
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "format/safetensors.h"
#include "support/gguf_file.h"

namespace kvlab::testing {

// A folder of its own under the system's temporary folder, removed with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The default is a grouped-query llama whose every width is a multiple of 32, so that it can be quantised.
struct TinyModelOptions {
  uint64_t seed = 1;
  int layers = 2;
  int hidden = 64;
  int query_heads = 4;
  int kv_heads = 2;
  int head_dim = 16;
  int intermediate = 96;
  int vocab = 96;
  int context = 512;
  bool tied = true;            // no lm_head of its own
  bool llama3_rotary = false;  // Llama 3.1's frequency scaling (factor 8, original context 64)
  bool old_rotary_spelling =
      false;  // config.json with rope_theta and rope_scaling instead of rope_parameters
  double theta = 10000.0;
};

// The tensors under their Hugging Face names, Q and K rows half-split. Matrices ~ N(0, 0.2), so that
// attention is far from uniform; norm weights ~ N(1, 0.1).
std::vector<NamedTensor> tiny_tensors(const TinyModelOptions& options);

// Writes config.json and model.safetensors into `folder`, which is made if need be. Gives the folder.
std::filesystem::path write_tiny_hf(const TinyModelOptions& options, const std::filesystem::path& folder);

// Writes the same model as a GGUF file of architecture llama: Q and K rows permuted for interleaved rotary,
// Llama 3.1's scaling as rope_freqs.weight. Gives the file.
std::filesystem::path write_tiny_gguf(const TinyModelOptions& options, const std::filesystem::path& file,
                                      TinyGgufType type = TinyGgufType::kF32);

}  // namespace kvlab::testing
