// The qwen3 architecture: a llama whose query and key heads are normed before they are rotated; the size of a
// head is free. Yang et al.: Qwen3 Technical Report, arXiv:2505.09388.
#include "models/architecture.h"
#include "models/windows.h"

namespace kvlab {

namespace {

DecoderTensors qwen3_tensors(const ModelConfig& config) {
  DecoderTensors tensors = llama_tensors(config);
  for (int i = 0; i < config.layers; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".self_attn.";
    tensors.layers[i].query_norm = {p + "q_norm.weight", "", config.head_dim};
    tensors.layers[i].key_norm = {p + "k_norm.weight", "", config.head_dim};
  }
  return tensors;
}

GgufLayout qwen3_gguf() {
  GgufLayout layout = llama_gguf("qwen3", RowOrder::kSame);
  layout.layers.push_back({"attn_q_norm", "self_attn.q_norm"});
  layout.layers.push_back({"attn_k_norm", "self_attn.k_norm"});
  return layout;
}

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_qwen3;
const ArchitectureInfo kArchitectureInfo_qwen3 = {
    .name = "qwen3",
    .summary = "Qwen 3 (dense models)",
    .defaults = R"({"rms_norm_eps": 1e-6, "head_dim": 128, "sliding_window": 4096, "max_window_layers": 28})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.activation = read_activation(json, "hidden_act");
          config.qkv_bias = config.output_bias = json.flag("attention_bias").value_or(false);
          read_upper_windows(json, config);
        },
    .read_gguf = [](const GgufFile& file,
                    ModelConfig& config) { read_windows(file, "qwen3", config, [](int) { return true; }); },
    .gguf = qwen3_gguf(),
    .tensors = qwen3_tensors,
};

}  // namespace kvlab
