// The folder that a trainer of plain tensors writes, in the Hugging Face layout.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "format/safetensors.h"
#include "train/trainer.h"

namespace kvlab {

// Writes model.safetensors, config.json (what the layout's other readers need), kvlab.json (provenance, then
// `record`) and trained_on.json into context.output. Throws UserError when the disk refuses.
void write_result_folder(const TrainContext& context, const std::vector<NamedTensor>& tensors,
                         const nlohmann::ordered_json& config, const nlohmann::ordered_json& record);

}  // namespace kvlab
