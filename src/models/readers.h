// The two readers behind open_model(), and the limits they hold settings to.
#pragma once

#include <string>
#include <string_view>

#include "models/config.h"

namespace kvlab {

// The model in a GGUF file.
ModelFiles open_gguf_model(const std::string& path);
// The model in a Hugging Face folder: config.json (old and new spellings) and safetensors, one or sharded.
ModelFiles open_hf_model(const std::string& folder);
// The settings in the text of a config.json, complete but for `name` and `weight_types`; `file` goes into
// errors.
ModelConfig config_of_json(std::string_view text, const std::string& file);

// Largest values a setting may have. Far above any model, small enough that no product of three overflows 64
// bits.
constexpr int64_t kMostLayers = 4096, kMostWidth = 1 << 20, kMostHeads = 1 << 14, kMostHeadDim = 1 << 14;
constexpr int64_t kMostVocab = 1 << 26, kMostContext = int64_t{1} << 40;

}  // namespace kvlab
