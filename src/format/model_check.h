// Checks of a model's settings that both readers share, whatever the file format.
#pragma once

#include <string>

#include "format/weights.h"

namespace kvlab {

// Largest values a setting may have. Far above any model, small enough that no product of three overflows 64
// bits.
constexpr int64_t kMostLayers = 4096, kMostWidth = 1 << 20, kMostHeads = 1 << 14, kMostHeadDim = 1 << 14;
constexpr int64_t kMostVocab = 1 << 26, kMostContext = int64_t{1} << 40;

// Checks that the settings fit each other: kv heads divide the heads, rotary dimensions are even and within a
// head. Throws UserError naming `file` and the values.
void check_config(const ModelConfig& config, const std::string& file);

// For architectures with llama's tensor names (llama, mistral, qwen2, qwen3): checks that every tensor of
// every layer is there with the shape the settings ask for. Other architectures: only the embedding, where it
// has the usual name. Throws UserError naming the file, the tensor and both shapes.
void check_shapes(const ModelConfig& config, const Weights& weights);

// "q4_1 (210 tensors), f32 (61 tensors)", the most frequent first.
std::string weight_types(const Weights& weights);

// "[576, 49152]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace kvlab
