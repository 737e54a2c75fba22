// The llama architecture: RMS norms before attention and MLP, rotary positions (half-split), grouped-query
// attention, SwiGLU. Touvron et al.: LLaMA, arXiv:2302.13971; Llama 3.1 adds the rotary scaling of
// models/rotary.h. GGUF files of Mistral models without a window are llamas too.
#include "models/architecture.h"
#include "models/windows.h"

namespace kvlab {

extern const ArchitectureInfo kArchitectureInfo_llama;
const ArchitectureInfo kArchitectureInfo_llama = {
    .name = "llama",
    .summary = "Llama 1 to 3.3, SmolLM, TinyLlama and others of the same shape",
    .defaults = R"({"rms_norm_eps": 1e-6})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.activation = read_activation(json, "hidden_act");
          config.qkv_bias = config.output_bias = json.flag("attention_bias").value_or(false);
          config.mlp_bias = json.flag("mlp_bias").value_or(false);
        },
    .read_gguf =
        [](const GgufFile& file, ModelConfig& config) {
          config.qkv_bias = gguf_has_layer_tensor(file, "attn_q.bias");
          config.output_bias = gguf_has_layer_tensor(file, "attn_output.bias");
          config.mlp_bias = gguf_has_layer_tensor(file, "ffn_up.bias");
          read_windows(file, "llama", config, [](int) { return true; });  // a mistral's
        },
    .gguf = llama_gguf("llama", RowOrder::kRotaryPairs),
    .tensors = llama_tensors,
};

}  // namespace kvlab
