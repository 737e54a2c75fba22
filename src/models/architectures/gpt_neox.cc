// The gpt_neox architecture (Pythia, GPT-NeoX-20B): LayerNorm with bias, rotary positions on a part of each
// head, all heads with keys and values of their own, GELU, attention and MLP beside each other or in turn.
// Black et al.: GPT-NeoX-20B, arXiv:2204.06745; Biderman et al.: Pythia, arXiv:2304.01373.
#include <fmt/format.h>

#include "models/architecture.h"

namespace kvlab {

namespace {

// The fused projection holds each head's queries, keys and values together.
std::vector<TensorRows> heads_of(const std::string& tensor, const ModelConfig& c) {
  std::vector<TensorRows> rows;
  for (int kind = 0; kind < 3; ++kind) {
    for (int head = 0; head < c.query_heads; ++head)
      rows.push_back({tensor, c.head_dim, (head * 3 + kind) * c.head_dim});
  }
  return rows;
}

LinearTensors biased(const std::string& name, int rows, int in) {
  return {{{name + ".weight", rows}}, {{name + ".bias", rows}}, in};
}

DecoderTensors tensors_of(const ModelConfig& c) {
  DecoderTensors tensors;
  tensors.embedding = "gpt_neox.embed_in.weight";
  tensors.head = c.tied_embeddings ? tensors.embedding : "embed_out.weight";
  tensors.final_norm = {"gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias", c.hidden};
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = fmt::format("gpt_neox.layers.{}.", i);
    LayerTensors layer;
    layer.gated = false;
    layer.input_norm = {p + "input_layernorm.weight", p + "input_layernorm.bias", c.hidden};
    layer.mlp_norm = {p + "post_attention_layernorm.weight", p + "post_attention_layernorm.bias", c.hidden};
    const std::string fused = p + "attention.query_key_value";
    layer.qkv = {heads_of(fused + ".weight", c), {}, c.hidden};
    layer.output = biased(p + "attention.dense", c.hidden, c.query_heads * c.head_dim);
    if (c.qkv_bias) layer.qkv.bias = heads_of(fused + ".bias", c);
    if (!c.output_bias) layer.output.bias.clear();
    layer.up = biased(p + "mlp.dense_h_to_4h", c.intermediate, c.hidden);
    layer.down = biased(p + "mlp.dense_4h_to_h", c.hidden, c.intermediate);
    tensors.layers.push_back(std::move(layer));
  }
  return tensors;
}

void require_own_heads(const ModelConfig& config, const std::string& file) {
  if (config.kv_heads == config.query_heads) return;
  throw UserError(fmt::format("{}: {} KV heads for {} query heads (gpt_neox has as many of both)", file,
                              config.kv_heads, config.query_heads));
}

// Files of old have rotary_pct; transformers 5 writes it into rope_parameters.
double rotary_share(const JsonSettings& json) {
  if (const auto share = json.positive("rotary_pct")) return *share;
  const auto parameters = json.object("rope_parameters");
  return parameters ? parameters->positive("partial_rotary_factor").value_or(0.25) : 0.25;
}

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_gpt_neox;
const ArchitectureInfo kArchitectureInfo_gpt_neox = {
    .name = "gpt_neox",
    .summary = "Pythia, GPT-NeoX-20B",
    .defaults = R"({"layer_norm_eps": 1e-5, "hidden_act": "gelu", "max_position_embeddings": 2048})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.norm = NormKind::kLayer;
          config.activation = read_activation(json, "hidden_act");
          config.parallel_residual = json.flag("use_parallel_residual").value_or(true);
          config.qkv_bias = config.output_bias = json.flag("attention_bias").value_or(true);
          config.mlp_bias = true;
          const double share = rotary_share(json);
          if (share > 1) throw json.bad("rotary_pct", "above 0, at most 1");
          config.rotary.dims = static_cast<int>(config.head_dim * share);
          require_own_heads(config, json.file());
        },
    .read_gguf =
        [](const GgufFile& file, ModelConfig& config) {
          config.norm = NormKind::kLayer;
          config.activation = Activation::kGelu;
          config.parallel_residual = file.flag("gptneox.use_parallel_residual").value_or(true);
          config.qkv_bias = gguf_has_layer_tensor(file, "attn_qkv.bias");
          config.output_bias = gguf_has_layer_tensor(file, "attn_output.bias");
          config.mlp_bias = true;
          require_own_heads(config, file.path());
        },
    .gguf = {"gptneox",
             "gpt_neox.layers.",
             {{"token_embd", "gpt_neox.embed_in"},
              {"output_norm", "gpt_neox.final_layer_norm"},
              {"output", "embed_out"}},
             {{"attn_norm", "input_layernorm"},
              {"attn_qkv", "attention.query_key_value", RowOrder::kFusedByKind},
              {"attn_output", "attention.dense"},
              {"ffn_norm", "post_attention_layernorm"},
              {"ffn_up", "mlp.dense_h_to_4h"},
              {"ffn_down", "mlp.dense_4h_to_h"}}},
    .tensors = tensors_of,
};

}  // namespace kvlab
