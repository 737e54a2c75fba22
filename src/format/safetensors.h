// safetensors files (one or sharded through model.safetensors.index.json), memory-mapped; F32, F16, BF16.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "format/weights.h"

namespace kvlab {

// `path` is a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json.
// Throws UserError naming the file, the tensor and what is wrong.
std::shared_ptr<const Weights> open_safetensors(const std::string& path);

// Writes float32 tensors as one safetensors file (tests and dumps). Shapes are slowest first.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors);

// The model in a Hugging Face folder: config.json (old and new rotary spellings) and safetensors.
ModelFiles open_hf_model(const std::string& folder);

}  // namespace kvlab
