#include "support/golden_model.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "base/random.h"
#include "support/normal.h"

namespace kvlab::testing {
namespace {

namespace fs = std::filesystem;

fs::path goldens_folder() {
  return fs::path(KVLAB_SOURCE_DIR) / "tests" / "goldens" / "architectures";
}

// FNV-1a of 64 bits.
uint64_t name_hash(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char byte : name) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ull;
  return hash;
}

}  // namespace

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(goldens_folder())) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

GoldenModel load_golden(const std::string& name) {
  std::ifstream in(goldens_folder() / (name + ".json"));
  if (!in) throw std::runtime_error("no golden '" + name + "' in " + goldens_folder().string());
  const auto json = nlohmann::json::parse(in);
  GoldenModel golden;
  golden.name = json.at("name");
  golden.config = json.at("config");
  golden.config_4x = json.at("config_4x");
  golden.whole_only = json.at("whole_only");
  golden.gguf = json.at("gguf");
  golden.seed = json.at("seed");
  for (const auto& tensor : json.at("tensors")) {
    golden.tensors.push_back({tensor.at("name"), tensor.at("shape").get<std::vector<int64_t>>(),
                              tensor.at("mean"), tensor.at("deviation")});
  }
  golden.first_values = json.at("first_values").get<decltype(golden.first_values)>();
  for (const char* key : {"ids", "nll", "logits"}) golden.values[key] = json.at(key);
  return golden;
}

NamedTensor make_golden_tensor(uint64_t seed, const GoldenTensor& tensor) {
  Normal normal(mix64(seed ^ name_hash(tensor.name)));
  const int64_t elements =
      std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
  NamedTensor made{tensor.name, tensor.shape, {}};
  made.values.reserve(static_cast<size_t>(elements));
  for (int64_t i = 0; i < elements; ++i) made.values.push_back(normal.next(tensor.mean, tensor.deviation));
  return made;
}

std::vector<NamedTensor> golden_tensors(const GoldenModel& golden) {
  std::vector<NamedTensor> tensors;
  for (const GoldenTensor& tensor : golden.tensors) {
    tensors.push_back(make_golden_tensor(golden.seed, tensor));
  }
  return tensors;
}

fs::path write_golden_hf(const GoldenModel& golden, const fs::path& folder, ConfigSpelling spelling) {
  fs::create_directories(folder);
  const bool old = spelling == ConfigSpelling::kTransformers4;
  std::ofstream config(folder / "config.json");
  config << (old ? golden.config_4x : golden.config).dump(2) << "\n";
  if (!config.flush()) throw std::runtime_error("cannot write " + (folder / "config.json").string());
  write_safetensors((folder / "model.safetensors").string(), golden_tensors(golden));
  return folder;
}

}  // namespace kvlab::testing
