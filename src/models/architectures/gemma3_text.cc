// The gemma3_text architecture (Gemma 3's language models): norms on both sides of attention and MLP that
// multiply by 1 + weight, normed query and key heads, GELU by tanh, scaled embeddings, and several layers
// with a sliding window and rotary positions of their own between two that see everything. Gemma Team: Gemma
// 3 Technical Report, arXiv:2503.19786.
#include <fmt/format.h>

#include <cmath>

#include "models/architecture.h"
#include "models/hf_rotary.h"
#include "models/windows.h"

namespace kvlab {

namespace {

DecoderTensors tensors_of(const ModelConfig& c) {
  DecoderTensors tensors = llama_tensors(c);
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = fmt::format("model.layers.{}.", i);
    LayerTensors& layer = tensors.layers[i];
    layer.mlp_norm.weight = p + "pre_feedforward_layernorm.weight";
    layer.attention_norm = {p + "post_attention_layernorm.weight", "", c.hidden};
    layer.output_norm = {p + "post_feedforward_layernorm.weight", "", c.hidden};
    layer.query_norm = {p + "self_attn.q_norm.weight", "", c.head_dim};
    layer.key_norm = {p + "self_attn.k_norm.weight", "", c.head_dim};
  }
  return tensors;
}

void read_json(const JsonSettings& json, ModelConfig& config) {
  config.activation = read_activation(json, "hidden_activation");
  config.qkv_bias = config.output_bias = json.flag("attention_bias").value_or(false);
  config.unit_offset = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  config.query_scale = 1 / std::sqrt(json.positive("query_pre_attn_scalar").value_or(256));
  for (const char* key : {"final_logit_softcapping", "attn_logit_softcapping"}) {
    if (json.has(key)) throw json.bad(key, "none: soft-capping is not supported");
  }
  if (json.flag("use_bidirectional_attention").value_or(false)) {
    throw json.bad("use_bidirectional_attention", "false: every token sees the past only");
  }
  const int64_t pattern = json.integer("sliding_window_pattern", 1, 1 << 20).value_or(6);
  read_windows(json, config, [&](int layer) { return (layer + 1) % pattern != 0; });
  config.window_rotary = read_rotary_of(json, config, "sliding_attention");
  if (config.window_rotary) return;
  config.window_rotary.emplace();
  config.window_rotary->dims = config.rotary.dims;
  config.window_rotary->theta = json.positive("rope_local_base_freq").value_or(10000);
}

GgufLayout gguf_layout() {
  GgufLayout layout = llama_gguf("gemma3", RowOrder::kSame);
  layout.layers.push_back({"attn_q_norm", "self_attn.q_norm"});
  layout.layers.push_back({"attn_k_norm", "self_attn.k_norm"});
  layout.layers.push_back({"post_attention_norm", "post_attention_layernorm"});
  layout.layers.push_back({"post_ffw_norm", "post_feedforward_layernorm"});
  for (GgufName& name : layout.layers) {
    if (std::string(name.gguf) == "ffn_norm") name.hugging_face = "pre_feedforward_layernorm";
  }
  return layout;
}

void read_gguf(const GgufFile& file, ModelConfig& config) {
  config.activation = Activation::kGeluTanh;
  config.unit_offset = false;  // converters add the 1
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  // The largest model alone scales queries by hidden / heads instead of the head's size.
  config.query_scale =
      1 / std::sqrt(config.layers == 62 ? static_cast<double>(config.hidden) / config.query_heads
                                        : static_cast<double>(config.head_dim));
  if (const auto scale = file.real("gemma3.attention.scale"); scale && *scale > 0)
    config.query_scale = *scale;
  if (file.real("gemma3.final_logit_softcapping").value_or(0) > 0) {
    throw UserError(file.path() + ": gemma3.final_logit_softcapping: soft-capping is not supported");
  }
  read_windows(file, "gemma3", config, [](int layer) { return (layer + 1) % 6 != 0; });
  config.window_rotary.emplace();
  config.window_rotary->dims = config.rotary.dims;
  config.window_rotary->theta = file.real("gemma3.rope.freq_base_swa").value_or(10000);
}

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_gemma3_text;
const ArchitectureInfo kArchitectureInfo_gemma3_text = {
    .name = "gemma3_text",
    .summary = "Gemma 3, text models",
    .defaults = R"({"rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "head_dim": 256,
                    "sliding_window": 4096, "tie_word_embeddings": true})",
    .read_json = read_json,
    .read_gguf = read_gguf,
    .gguf = gguf_layout(),
    .tensors = tensors_of,
};

}  // namespace kvlab
