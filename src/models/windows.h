// Which layers have a sliding window, as settings say it.
#pragma once

#include <functional>
#include <string>

#include "format/gguf.h"
#include "format/json_reader.h"
#include "models/config.h"

namespace kvlab {

// `sliding_window` tokens in the layers that `layer_types` names, where it is there, else in those that
// `has_window` says. null: no layer has one.
void read_windows(const JsonSettings& json, ModelConfig& config, const std::function<bool(int)>& has_window);

// Qwen's rule: with use_sliding_window, the layers from max_window_layers on.
void read_upper_windows(const JsonSettings& json, ModelConfig& config);

// `attention.sliding_window` of a GGUF file, in the layers that `attention.sliding_window_pattern` (an array
// of flags, one for each layer) says, where it is there, else in those that `has_window` says.
void read_windows(const GgufFile& file, const std::string& architecture, ModelConfig& config,
                  const std::function<bool(int)>& has_window);

}  // namespace kvlab
