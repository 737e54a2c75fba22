// The qwen2 architecture (Qwen 2 and 2.5): a llama with biases on queries, keys and values. Upper layers may
// have a sliding window. Yang et al.: Qwen2 Technical Report, arXiv:2407.10671.
#include "models/architecture.h"
#include "models/windows.h"

namespace kvlab {

extern const ArchitectureInfo kArchitectureInfo_qwen2;
const ArchitectureInfo kArchitectureInfo_qwen2 = {
    .name = "qwen2",
    .summary = "Qwen 2 and 2.5",
    .defaults = R"({"rms_norm_eps": 1e-6, "sliding_window": 4096, "max_window_layers": 28})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.activation = read_activation(json, "hidden_act");
          config.qkv_bias = true;
          read_upper_windows(json, config);
        },
    .read_gguf =
        [](const GgufFile& file, ModelConfig& config) {
          config.qkv_bias = true;
          read_windows(file, "qwen2", config, [](int) { return true; });
        },
    .gguf = llama_gguf("qwen2", RowOrder::kSame),
    .tensors = llama_tensors,
};

}  // namespace kvlab
