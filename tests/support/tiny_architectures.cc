#include "support/tiny_architectures.h"

#include <cmath>
#include <map>
#include <numbers>

#include "base/error.h"
#include "base/random.h"
#include "models/architecture.h"

namespace kvlab::testing {
namespace {

class RandomTensors : public Weights {
 public:
  RandomTensors(const ModelConfig& config, const DecoderTensors& tensors) {
    uint64_t seed = 1;
    for (const TensorShape& tensor : tensor_shapes(tensors, config)) {
      std::vector<float>& values = tensors_[tensor.name].values;
      tensors_[tensor.name].shape = tensor.shape;
      const bool matrix = tensor.shape.size() == 2;
      const bool norm = !matrix && tensor.name.ends_with("weight");
      int64_t count = tensor.shape[0] * (matrix ? tensor.shape[1] : 1);
      const double mean = norm && !config.unit_offset ? 1 : 0, deviation = matrix ? 0.2 : 0.1;
      for (; count > 0; --count) values.push_back(static_cast<float>(mean + deviation * normal(seed)));
    }
  }
  const std::string& path() const override { return path_; }
  bool has(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<int64_t> shape(const std::string& name) const override { return at(name).shape; }
  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override {
    const Tensor& tensor = at(name);
    const int64_t length = tensor.shape.back();
    std::copy_n(tensor.values.begin() + first * length, count * length, out);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(name);
    return all;
  }

 private:
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  static double uniform(uint64_t& seed) { return static_cast<double>((seed = mix64(seed)) >> 11) * 0x1p-53; }
  static double normal(uint64_t& seed) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform(seed)));
    return radius * std::cos(2 * std::numbers::pi * uniform(seed));
  }
  const Tensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw UserError(path_ + ": no tensor '" + name + "'");
    return found->second;
  }
  std::string path_ = "random tensors";
  std::map<std::string, Tensor> tensors_;
};

void set_gpt_neox(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.activation = Activation::kGelu;
  c.qkv_bias = c.output_bias = c.mlp_bias = c.parallel_residual = true;
  c.query_heads = c.kv_heads;
  c.head_dim = 32;
  c.rotary.dims = 8;
}

void set_gemma3(ModelConfig& c) {
  c.activation = Activation::kGeluTanh;
  c.unit_offset = c.tied_embeddings = true;
  c.embedding_scale = 8;
  c.query_scale = 1 / std::sqrt(24.0);
  c.windows = {20, 20, 0};
  c.window_rotary = c.rotary;
  c.rotary.kind = RotarySettings::Kind::kLinear;
  c.rotary.factor = 8;
}

}  // namespace

ModelFiles tiny_files(const std::string& name) {
  ModelConfig c;
  c.architecture = name;
  c.name = "tiny " + name;
  c.layers = 3;
  c.hidden = 64;
  c.query_heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.intermediate = 96;
  c.vocab = 96;
  c.context = 512;
  c.rotary.dims = c.head_dim;
  c.qkv_bias = name == "qwen2";
  if (name == "mistral") c.windows = {20, 20, 20};
  if (name == "phi3") c.windows = {37, 37, 37};
  if (name == "gpt_neox") set_gpt_neox(c);
  if (name == "gemma3_text") set_gemma3(c);
  const DecoderTensors tensors = find_architecture(name, c.name).tensors(c);
  ModelFiles files;
  files.config = c;
  files.weights = std::make_shared<RandomTensors>(c, tensors);
  return files;
}

}  // namespace kvlab::testing
