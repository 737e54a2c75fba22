// An architecture: how its files spell it, and which tensors play which part in a decoder. One file of
// src/models/architectures defines `const ArchitectureInfo kArchitectureInfo_<file name>`; what they have in
// common is run by models/decoder.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "format/json_reader.h"
#include "models/config.h"
#include "models/tensors.h"

namespace kvlab {

// How a GGUF file lays out rows of a tensor, compared with Hugging Face's. kRotaryPairs: the two halves of a
// rotated pair are neighbours. kFusedByKind: all queries, all keys, all values, where Hugging Face has them
// head by head.
enum class RowOrder { kSame, kRotaryPairs, kFusedByKind };

struct GgufName {
  const char* gguf;          // "attn_q": "blk.3.attn_q.weight" and ".bias"
  const char* hugging_face;  // "self_attn.q_proj", after `GgufLayout::layer`
  RowOrder order = RowOrder::kSame;
};

struct GgufLayout {
  std::string architecture;  // general.architecture; "": GGUF does not know it
  std::string layer;         // "model.layers.": goes before the layer's number
  std::vector<GgufName> model, layers;
};

struct ArchitectureInfo {
  std::string name;  // model_type of config.json
  std::string summary;
  // What transformers takes for settings that config.json does not write: a JSON object.
  std::string defaults;
  // Completes the settings that all architectures share. Throws UserError for what is not supported.
  std::function<void(const JsonSettings&, ModelConfig&)> read_json;
  std::function<void(const GgufFile&, ModelConfig&)> read_gguf;  // null: `gguf` is empty
  GgufLayout gguf;
  std::function<DecoderTensors(const ModelConfig&)> tensors;
};

const std::vector<const ArchitectureInfo*>& registry_architectures();

// Throws UserError naming `file` and the architectures known.
const ArchitectureInfo& find_architecture(const std::string& name, const std::string& file);

// Why a widespread architecture is not among those known: ": its MLP is a mixture of experts", or "".
std::string missing_feature(const std::string& architecture);

// Every tensor that a model is made of, each once, with the shape that the settings ask for.
struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<TensorShape> tensor_shapes(const DecoderTensors& tensors, const ModelConfig& config);

// What most architectures share.

// Names of Llama's layout ("model.layers.N.self_attn.q_proj"), with the biases that the settings say.
DecoderTensors llama_tensors(const ModelConfig& config);
// GGUF names of the same.
GgufLayout llama_gguf(const std::string& architecture, RowOrder query_key_order);
// hidden_act as one of SiLU, GELU and its approximation; UserError naming what is supported.
Activation read_activation(const JsonSettings& json, const char* key);
// Whether the first layer of a GGUF file has such a tensor: "attn_q.bias".
bool gguf_has_layer_tensor(const GgufFile& file, const char* name);

}  // namespace kvlab
