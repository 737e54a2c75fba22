// The phi3 architecture (Phi-3, Phi-3.5, Phi-4-mini): a llama whose projections are stored fused, often with
// a sliding window. Abdin et al.: Phi-3 Technical Report, arXiv:2404.14219. Its long-context models scale
// rotary positions by "longrope", which is refused (models/hf_rotary.cc says why).
#include <fmt/format.h>

#include "models/architecture.h"
#include "models/windows.h"

namespace kvlab {

namespace {

DecoderTensors tensors_of(const ModelConfig& c) {
  DecoderTensors tensors = llama_tensors(c);
  const int rows = (c.query_heads + 2 * c.kv_heads) * c.head_dim;
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = fmt::format("model.layers.{}.", i);
    tensors.layers[i].qkv.weight = {{p + "self_attn.qkv_proj.weight", rows}};
    tensors.layers[i].up.weight = {{p + "mlp.gate_up_proj.weight", 2 * c.intermediate}};
  }
  return tensors;
}

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_phi3;
const ArchitectureInfo kArchitectureInfo_phi3 = {
    .name = "phi3",
    .summary = "Phi-3, Phi-3.5 and Phi-4-mini without longrope",
    .defaults = R"({"rms_norm_eps": 1e-5})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.activation = read_activation(json, "hidden_act");
          if (config.rotary.kind == RotarySettings::Kind::kYarn) {  // what old files of phi3 call it
            throw json.bad("rope_scaling", "none: phi3's long-context rotary scaling is not supported");
          }
          read_windows(json, config, [](int) { return true; });
        },
    .read_gguf = [](const GgufFile& file,
                    ModelConfig& config) { read_windows(file, "phi3", config, [](int) { return true; }); },
    .gguf = {"phi3",
             "model.layers.",
             {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}},
             {{"attn_norm", "input_layernorm"},
              {"attn_qkv", "self_attn.qkv_proj"},
              {"attn_output", "self_attn.o_proj"},
              {"ffn_norm", "post_attention_layernorm"},
              {"ffn_up", "mlp.gate_up_proj"},
              {"ffn_down", "mlp.down_proj"}}},
    .tensors = tensors_of,
};

}  // namespace kvlab
