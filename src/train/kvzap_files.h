// A fitted KVzap scorer in Hugging Face's layout, as kvpress's KVzapModel and kvlab's kvzap read it.
#pragma once

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include "train/surrogate.h"

namespace kvlab {

// Writes config.json, model.safetensors (f32) and kvlab.json, the record of how it was made; each file is
// there whole or not at all, the weights last. Throws UserError when the disk refuses.
void write_kvzap(const std::filesystem::path& folder, const std::vector<Surrogate>& layers,
                 const nlohmann::ordered_json& record);

}  // namespace kvlab
