// The tiny models behind tests/goldens/architectures: their configurations, weights and reference values.
// tools/goldens/make_architecture_goldens.py makes the goldens and says what they hold.
//
//   const GoldenModel golden = load_golden("qwen3");
//   const auto folder = write_golden_hf(golden, temp.path() / "qwen3");
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format/safetensors.h"

namespace kvlab::testing {

struct GoldenTensor {
  std::string name;
  std::vector<int64_t> shape;  // slowest first
  double mean = 0, deviation = 0;
};

struct GoldenModel {
  std::string name;
  nlohmann::json config, config_4x;  // the same model as transformers 5 and 4 spell it
  bool whole_only = false;           // the values are defined for one forward over all ids only
  bool gguf = true;                  // a GGUF file can say all that the model needs
  uint64_t seed = 0;
  std::vector<GoldenTensor> tensors;                       // by name
  std::map<std::string, std::vector<float>> first_values;  // of some tensors, as Python made them
  nlohmann::json values;                                   // "ids", "nll", "logits"

  std::string model_type() const { return config.at("model_type").get<std::string>(); }
};

// The names of all goldens, sorted.
std::vector<std::string> golden_names();

// Throws std::runtime_error when there is no such golden.
GoldenModel load_golden(const std::string& name);

// The values of a tensor, which depend on the seed and its name only.
NamedTensor make_golden_tensor(uint64_t seed, const GoldenTensor& tensor);

// All tensors under their Hugging Face names.
std::vector<NamedTensor> golden_tensors(const GoldenModel& golden);

enum class ConfigSpelling { kTransformers5, kTransformers4 };

// Writes config.json and model.safetensors into `folder`, which is made if need be. Gives the folder.
std::filesystem::path write_golden_hf(const GoldenModel& golden, const std::filesystem::path& folder,
                                      ConfigSpelling spelling = ConfigSpelling::kTransformers5);

}  // namespace kvlab::testing
