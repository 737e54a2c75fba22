// Rotary settings of a config.json.
#pragma once

#include <optional>
#include <string>

#include "format/json_reader.h"
#include "models/config.h"

namespace kvlab {

// The rotary settings of all layers. Throws UserError for a scaling that is not supported, by its name.
RotarySettings read_rotary(const JsonSettings& json, const ModelConfig& config);

// The settings of one kind of layer where rope_parameters has an object for each ("full_attention",
// "sliding_attention"); nullopt: it has not.
std::optional<RotarySettings> read_rotary_of(const JsonSettings& json, const ModelConfig& config,
                                             const std::string& layer_type);

}  // namespace kvlab
