#include "models/model_shapes.h"

#include <fmt/format.h>

#include "base/error.h"
#include "models/readers.h"

namespace kvlab {

namespace {

struct Shape {
  const char* name;
  const char* config;  // what decides sizes and operations, as config.json of the published model has it
};

constexpr Shape kShapes[] = {
    {"llama-3.1-8b", R"({"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096,
        "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
        "high_freq_factor": 4, "original_max_position_embeddings": 8192}})"},
    {"llama-3.2-1b", R"({"model_type": "llama", "num_hidden_layers": 16, "hidden_size": 2048,
        "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "rope_theta": 500000, "rope_scaling": {"rope_type": "llama3",
        "factor": 32, "low_freq_factor": 1, "high_freq_factor": 4,
        "original_max_position_embeddings": 8192}})"},
    {"mistral-7b", R"({"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096,
        "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 32768, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
        "rope_theta": 1000000, "sliding_window": null})"},
    {"pythia-6.9b", R"({"model_type": "gpt_neox", "num_hidden_layers": 32, "hidden_size": 4096,
        "intermediate_size": 16384, "num_attention_heads": 32, "vocab_size": 50432,
        "max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "rotary_pct": 0.25,
        "rotary_emb_base": 10000, "use_parallel_residual": true})"},
    {"pythia-70m", R"({"model_type": "gpt_neox", "num_hidden_layers": 6, "hidden_size": 512,
        "intermediate_size": 2048, "num_attention_heads": 8, "vocab_size": 50304,
        "max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "rotary_pct": 0.25,
        "rotary_emb_base": 10000, "use_parallel_residual": true})"},
    {"qwen2.5-7b", R"({"model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584,
        "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4,
        "vocab_size": 152064, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000, "use_sliding_window": false})"},
    {"qwen3-8b", R"({"model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096,
        "intermediate_size": 12288, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000, "use_sliding_window": false})"},
    {"smollm2-135m", R"({"model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576,
        "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "rope_theta": 100000})"}};

}  // namespace

std::string model_shape_names() {
  std::string names;
  for (const Shape& shape : kShapes) names += (names.empty() ? "" : ", ") + std::string(shape.name);
  return names;
}

ModelConfig model_shape(const std::string& name) {
  for (const Shape& shape : kShapes) {
    if (shape.name != name) continue;
    ModelConfig config = config_of_json(shape.config, "the shape " + name);
    config.name = name;
    return config;
  }
  throw UserError(fmt::format("--shape {} is not known (known: {})", name, model_shape_names()));
}

ModelConfig first_layers(ModelConfig config, int64_t layers) {
  if (layers < 1 || layers > config.layers) {
    throw UserError(fmt::format("--layers {} is out of range ({} has {}: expected 1 to {})", layers,
                                config.name, config.layers, config.layers));
  }
  config.layers = static_cast<int>(layers);
  if (!config.windows.empty()) config.windows.resize(static_cast<size_t>(layers));
  return config;
}

}  // namespace kvlab
