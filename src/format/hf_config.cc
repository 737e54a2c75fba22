// A Hugging Face folder as a model. Rotary settings have an old spelling (rope_theta, rope_scaling,
// rotary_pct, rotary_emb_base) and a new one (rope_parameters); both are read, and the new one goes first.
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "format/json_reader.h"
#include "format/mapped_file.h"
#include "format/model_check.h"
#include "format/safetensors.h"

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

// The object that says how rotary frequencies are scaled, in the new or the old spelling.
std::optional<JsonSettings> rotary_scaling(const JsonSettings& json) {
  const auto parameters = json.object("rope_parameters");
  if (parameters && (parameters->has("rope_type") || parameters->has("type"))) return parameters;
  return json.object("rope_scaling");
}

void read_llama3(const JsonSettings& scaling, RotarySettings& rotary) {
  rotary.kind = RotarySettings::Kind::kLlama3;
  rotary.factor = scaling.needed_positive("factor");
  rotary.low_freq_factor = scaling.needed_positive("low_freq_factor");
  rotary.high_freq_factor = scaling.needed_positive("high_freq_factor");
  rotary.original_context = scaling.needed_integer("original_max_position_embeddings", 1, kMostContext);
  if (rotary.high_freq_factor <= rotary.low_freq_factor) {
    throw scaling.bad("high_freq_factor",
                      fmt::format("above low_freq_factor, which is {}", rotary.low_freq_factor));
  }
}

void read_scaling(const JsonSettings& json, RotarySettings& rotary) {
  const auto scaling = rotary_scaling(json);
  if (!scaling) return;
  auto type = scaling->text("rope_type");
  if (!type) type = scaling->text("type");
  if (!type) throw scaling->missing("rope_type");
  if (*type == "llama3") return read_llama3(*scaling, rotary);
  if (*type != "default") {
    throw UserError(
        fmt::format("unsupported rotary scaling '{}' in {}; supported: default, llama3", *type, json.file()));
  }
}

// The share of a head's dimensions that is rotated.
double rotary_share(const JsonSettings& json) {
  if (const auto parameters = json.object("rope_parameters")) {
    if (const auto share = parameters->positive("partial_rotary_factor")) return *share;
  }
  for (const char* key : {"partial_rotary_factor", "rotary_pct"}) {
    const auto share = json.positive(key);
    if (share && *share > 1) throw json.bad(key, "above 0, at most 1");
    if (share) return *share;
  }
  return 1.0;
}

double rotary_theta(const JsonSettings& json) {
  if (const auto parameters = json.object("rope_parameters")) {
    if (const auto theta = parameters->positive("rope_theta")) return *theta;
  }
  for (const char* key : {"rope_theta", "rotary_emb_base"}) {
    if (const auto theta = json.positive(key)) return *theta;
  }
  return 10000.0;
}

void read_rotary(const JsonSettings& json, ModelConfig& config) {
  const double share = rotary_share(json);
  if (share > 1) throw UserError(fmt::format("{}: rotary share {} (expected at most 1)", json.file(), share));
  config.rotary.theta = rotary_theta(json);
  config.rotary.dims = static_cast<int>(config.head_dim * share);
  read_scaling(json, config.rotary);
}

// Settings that change what a llama computes and that kvlab does not have.
void refuse_unsupported(const JsonSettings& json) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (json.flag(key).value_or(false)) {
      throw json.bad(key, "false: biases are not supported for the llama architecture");
    }
  }
  const auto activation = json.text("hidden_act");
  if (activation && *activation != "silu") {
    throw json.bad("hidden_act", "silu, the only one supported for the llama architecture");
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

ModelConfig read_config(const JsonSettings& json) {
  ModelConfig config;
  const auto type = json.text("model_type");
  if (!type) throw json.missing("model_type");
  config.architecture = *type;
  read_sizes(json, config);
  read_rotary(json, config);
  config.norm_eps = norm_eps(json);
  config.tied_embeddings = json.flag("tie_word_embeddings").value_or(false);
  if (config.architecture == "llama") refuse_unsupported(json);
  check_config(config, json.file());
  return config;
}

}  // namespace

ModelFiles open_hf_model(const std::string& folder) {
  const MappedFile file((fs::path(folder) / "config.json").string());
  const nlohmann::json parsed = parse_json(file.text(), file.path());
  ModelFiles files;
  files.config = read_config(JsonSettings(parsed, file.path()));
  files.config.name = folder_name(folder);
  files.weights = open_safetensors(folder);
  if (!files.weights->has("lm_head.weight") && files.weights->has("model.embed_tokens.weight")) {
    files.config.tied_embeddings = true;
  }
  check_shapes(files.config, *files.weights);
  files.config.weight_types = weight_types(*files.weights);
  return files;
}

}  // namespace kvlab
