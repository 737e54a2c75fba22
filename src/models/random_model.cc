#include "models/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "base/uniform.h"
#include "models/architecture.h"

namespace kvlab {

namespace {

constexpr float kBiasScale = 0.01f;

enum class Part { kMatrix, kNorm, kBias };

struct RandomTensor {
  std::vector<int64_t> shape;
  Part part = Part::kMatrix;
  uint32_t seed = 0;
};

std::vector<std::string> norm_weights(const DecoderTensors& tensors) {
  std::vector<std::string> names{tensors.final_norm.weight};
  for (const LayerTensors& layer : tensors.layers) {
    for (const NormTensors* norm : {&layer.input_norm, &layer.mlp_norm, &layer.query_norm, &layer.key_norm,
                                    &layer.attention_norm, &layer.output_norm}) {
      if (!norm->weight.empty()) names.push_back(norm->weight);
    }
  }
  return names;
}

class RandomWeights : public Weights {
 public:
  RandomWeights(const ModelConfig& config, const DecoderTensors& tensors, uint64_t seed)
      : path_("random weights of " + config.name), norm_(config.unit_offset ? 0.0f : 1.0f) {
    for (const TensorShape& tensor : tensor_shapes(tensors, config)) {
      const Part part = tensor.shape.size() == 1 ? Part::kBias : Part::kMatrix;
      const auto own = static_cast<uint32_t>(mix64(mix64(seed) ^ names_.size()) >> 32);
      tensors_[tensor.name] = {tensor.shape, part, own};
      names_.push_back(tensor.name);
    }
    for (const std::string& name : norm_weights(tensors)) tensors_.at(name).part = Part::kNorm;
  }

  const std::string& path() const override { return path_; }
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  std::vector<int64_t> shape(const std::string& name) const override { return find(name).shape; }
  std::vector<std::string> names() const override { return names_; }
  // What published checkpoints of such models are stored as.
  std::string type(const std::string& /*name*/) const override { return "bf16"; }

  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override {
    const RandomTensor& tensor = find(name);
    const int64_t rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0], size = tensor.shape.back();
    if (first < 0 || count < 0 || first > rows - count) {
      throw UserError(fmt::format("{}: tensor '{}': rows {} + {} asked of shape {}", path_, name, first,
                                  count, shape_text(tensor.shape)));
    }
    if (tensor.part == Part::kNorm) {
      std::fill_n(out, count * size, norm_);
      return;
    }
    const float scale = tensor.part == Part::kBias ? kBiasScale : 1.0f / std::sqrt(static_cast<float>(size));
    fill_uniform(tensor.seed, static_cast<uint64_t>(first * size), count * size, scale, out);
  }

 private:
  const RandomTensor& find(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw UserError(fmt::format("{}: no tensor '{}'", path_, name));
    return found->second;
  }

  std::string path_;
  float norm_;
  std::vector<std::string> names_;
  std::map<std::string, RandomTensor> tensors_;
};

}  // namespace

ModelFiles random_model(const ModelConfig& config, uint64_t seed) {
  ModelFiles files;
  files.config = config;
  const DecoderTensors tensors = find_architecture(config.architecture, config.name).tensors(config);
  files.weights = std::make_shared<RandomWeights>(config, tensors, seed);
  files.config.weight_types = fmt::format("random ({} tensors)", files.weights->names().size());
  return files;
}

}  // namespace kvlab
