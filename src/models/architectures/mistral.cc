// The mistral architecture: a llama whose queries see a sliding window of tokens, where config.json has one.
// Jiang et al.: Mistral 7B, arXiv:2310.06825.
#include "models/architecture.h"
#include "models/windows.h"

namespace kvlab {

extern const ArchitectureInfo kArchitectureInfo_mistral;
const ArchitectureInfo kArchitectureInfo_mistral = {
    .name = "mistral",
    .summary = "Mistral 7B and others of the same shape, with or without a sliding window",
    .defaults = R"({"rms_norm_eps": 1e-6, "sliding_window": 4096})",
    .read_json =
        [](const JsonSettings& json, ModelConfig& config) {
          config.activation = read_activation(json, "hidden_act");
          read_windows(json, config, [](int) { return true; });
        },
    .read_gguf = nullptr,
    .gguf = {},  // converters write mistral as llama
    .tensors = llama_tensors,
};

}  // namespace kvlab
