// A Hugging Face folder as a model. Rotary settings have an old spelling (rope_theta, rope_scaling,
// rotary_pct, rotary_emb_base) and a new one (rope_parameters); both are read, and the new one goes first.
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "format/mapped_file.h"
#include "format/safetensors.h"
#include "models/hf_rotary.h"
#include "models/model_check.h"
#include "models/readers.h"

namespace kvlab {
namespace {

namespace fs = std::filesystem;

void read_sizes(const JsonSettings& json, ModelConfig& config) {
  config.layers = static_cast<int>(json.needed_integer("num_hidden_layers", 1, kMostLayers));
  config.hidden = static_cast<int>(json.needed_integer("hidden_size", 1, kMostWidth));
  config.intermediate = static_cast<int>(json.needed_integer("intermediate_size", 1, kMostWidth));
  config.query_heads = static_cast<int>(json.needed_integer("num_attention_heads", 1, kMostHeads));
  config.kv_heads =
      static_cast<int>(json.integer("num_key_value_heads", 1, kMostHeads).value_or(config.query_heads));
  config.vocab = static_cast<int>(json.needed_integer("vocab_size", 1, kMostVocab));
  config.context = json.needed_integer("max_position_embeddings", 1, kMostContext);
  const auto head_dim = json.integer("head_dim", 1, kMostHeadDim);
  if (!head_dim && config.hidden % config.query_heads != 0) {
    throw json.bad("num_attention_heads", fmt::format("a divisor of {}, the hidden size", config.hidden));
  }
  config.head_dim = static_cast<int>(head_dim.value_or(config.hidden / config.query_heads));
  if (config.head_dim > kMostHeadDim) {
    throw json.bad("num_attention_heads", fmt::format("heads of at most {} dimensions", kMostHeadDim));
  }
}

double norm_eps(const JsonSettings& json) {
  for (const char* key : {"rms_norm_eps", "layer_norm_eps"}) {
    if (const auto epsilon = json.positive(key)) return *epsilon;
  }
  throw json.missing("rms_norm_eps");
}

std::string folder_name(const std::string& folder) {
  std::error_code ignored;
  const fs::path full = fs::weakly_canonical(folder, ignored);
  return ignored ? folder : full.filename().string();
}

// Settings that would change what is computed, whatever the architecture.
void refuse_unsupported(const nlohmann::json& settings, const JsonSettings& json) {
  if (settings.contains("quantization_config") && !settings["quantization_config"].is_null()) {
    throw json.bad("quantization_config",
                   "none: weights quantised by other libraries (GPTQ, AWQ, bitsandbytes, ...) are not read; "
                   "convert the model to GGUF, or use the original weights");
  }
}

// What the file says over what transformers takes when it says nothing.
nlohmann::json with_defaults(const nlohmann::json& settings, const ArchitectureInfo& architecture) {
  nlohmann::json all = nlohmann::json::parse(architecture.defaults.empty() ? "{}" : architecture.defaults);
  all.update(settings);
  return all;
}

ModelConfig read_config(const JsonSettings& json, const ArchitectureInfo& architecture) {
  ModelConfig config;
  config.architecture = architecture.name;
  read_sizes(json, config);
  config.norm_eps = norm_eps(json);
  config.tied_embeddings = json.flag("tie_word_embeddings").value_or(false);
  config.rotary = read_rotary(json, config);
  architecture.read_json(json, config);
  check_config(config, json.file());
  return config;
}

}  // namespace

ModelConfig config_of_json(std::string_view text, const std::string& file) {
  const nlohmann::json parsed = parse_json(text, file);
  const std::string type = JsonSettings(parsed, file).needed_text("model_type");
  const ArchitectureInfo& architecture = find_architecture(type, file);
  const nlohmann::json settings = with_defaults(parsed, architecture);
  const JsonSettings json(settings, file);
  refuse_unsupported(settings, json);
  return read_config(json, architecture);
}

ModelFiles open_hf_model(const std::string& folder) {
  const MappedFile file((fs::path(folder) / "config.json").string());
  ModelFiles files;
  files.config = config_of_json(file.text(), file.path());
  const ArchitectureInfo& architecture = find_architecture(files.config.architecture, file.path());
  files.config.name = folder_name(folder);
  files.weights = open_safetensors(folder);
  // Checkpoints of tied models are often saved without the output head, whatever the settings say.
  const DecoderTensors tensors = architecture.tensors(files.config);
  if (!files.weights->has(tensors.head) && files.weights->has(tensors.embedding)) {
    files.config.tied_embeddings = true;
  }
  files.notes = check_tensors(architecture, files.config, *files.weights);
  files.config.weight_types = weight_types(*files.weights);
  return files;
}

}  // namespace kvlab
