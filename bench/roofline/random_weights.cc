#include "bench/roofline/random_weights.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace kvlab::roofline {

namespace {

struct Shape {
  const char* name;
  int layers, hidden, query_heads, kv_heads, head_dim, intermediate, vocab;
  bool tied;
  double theta;
};

constexpr Shape kShapes[] = {{"smollm2-135m", 30, 576, 9, 3, 64, 1536, 49152, true, 100000},
                             {"mistral-7b", 32, 4096, 32, 8, 128, 14336, 32768, false, 1000000},
                             {"qwen2.5-7b", 28, 3584, 28, 4, 128, 18944, 152064, false, 1000000},
                             {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, false, 500000}};

class RandomWeights : public Weights {
 public:
  explicit RandomWeights(const ModelConfig& c) : path_("random weights of " + c.name) {
    const int64_t q = c.query_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    shapes_["model.embed_tokens.weight"] = {c.vocab, c.hidden};
    shapes_["model.norm.weight"] = {c.hidden};
    if (!c.tied_embeddings) shapes_["lm_head.weight"] = {c.vocab, c.hidden};
    for (int layer = 0; layer < c.layers; ++layer) {
      const std::string p = "model.layers." + std::to_string(layer) + ".";
      shapes_[p + "input_layernorm.weight"] = {c.hidden};
      shapes_[p + "post_attention_layernorm.weight"] = {c.hidden};
      shapes_[p + "self_attn.q_proj.weight"] = {q, c.hidden};
      shapes_[p + "self_attn.k_proj.weight"] = {kv, c.hidden};
      shapes_[p + "self_attn.v_proj.weight"] = {kv, c.hidden};
      shapes_[p + "self_attn.o_proj.weight"] = {c.hidden, q};
      shapes_[p + "mlp.gate_proj.weight"] = {c.intermediate, c.hidden};
      shapes_[p + "mlp.up_proj.weight"] = {c.intermediate, c.hidden};
      shapes_[p + "mlp.down_proj.weight"] = {c.hidden, c.intermediate};
    }
  }

  const std::string& path() const override { return path_; }
  bool has(const std::string& name) const override { return shapes_.contains(name); }
  std::vector<int64_t> shape(const std::string& name) const override {
    const auto found = shapes_.find(name);
    if (found == shapes_.end()) throw UserError(path_ + ": no tensor " + name);
    return found->second;
  }
  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override {
    const std::vector<int64_t> sizes = shape(name);
    if (sizes.size() == 1) {
      std::fill(out, out + sizes[0], 1.0f);
      return;
    }
    const auto seed = static_cast<uint32_t>(std::distance(shapes_.begin(), shapes_.find(name)));
    fill_uniform(seed, static_cast<uint64_t>(first * sizes[1]), count * sizes[1],
                 1.0f / std::sqrt(static_cast<float>(sizes[1])), out);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, sizes] : shapes_) all.push_back(name);
    return all;
  }

 private:
  std::string path_;
  std::map<std::string, std::vector<int64_t>> shapes_;
};

}  // namespace

void fill_uniform(uint32_t seed, uint64_t first, int64_t count, float scale, float* out) {
  const uint32_t start = static_cast<uint32_t>(first) + seed * 0x9e3779b9u;
  const float step = scale * 0x1p-31f;
  // A mixer of 32 bits (two rounds of shift and multiply), which compilers turn into vector code.
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = start + static_cast<uint32_t>(i);
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    x ^= x >> 16;
    out[i] = static_cast<float>(static_cast<int32_t>(x)) * step;
  }
}

std::vector<float> uniform_floats(uint32_t seed, size_t count, float scale) {
  std::vector<float> x(count);
  fill_uniform(seed, 0, static_cast<int64_t>(count), scale, x.data());
  return x;
}

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelConfig shape_config(const std::string& name, int layers) {
  std::string known;
  for (const Shape& shape : kShapes) {
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
    if (shape.name != name) continue;
    ModelConfig config;
    config.architecture = "llama";
    config.name = shape.name;
    config.layers = layers > 0 ? layers : shape.layers;
    config.hidden = shape.hidden;
    config.query_heads = shape.query_heads;
    config.kv_heads = shape.kv_heads;
    config.head_dim = shape.head_dim;
    config.intermediate = shape.intermediate;
    config.vocab = shape.vocab;
    config.context = 32768;
    config.tied_embeddings = shape.tied;
    config.rotary.theta = shape.theta;
    config.rotary.dims = shape.head_dim;
    return config;
  }
  throw UserError("--shape " + name + " is not known (known: " + known + ")");
}

ModelFiles random_model(const ModelConfig& config) {
  return {config, std::make_shared<RandomWeights>(config)};
}

}  // namespace kvlab::roofline
