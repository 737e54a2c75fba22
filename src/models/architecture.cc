// What the files of src/models/architectures share.
#include "models/architecture.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"

namespace kvlab {

std::string missing_feature(const std::string& architecture) {
  struct Feature {
    const char *architecture, *what;
  };
  static constexpr Feature kFeatures[] = {
      {"gemma2", "it soft-caps attention scores"},
      {"gemma3", "it takes pictures; its text model alone is gemma3_text"},
      {"qwen2_moe", "its MLP is a mixture of experts"},
      {"qwen3_moe", "its MLP is a mixture of experts"},
      {"mixtral", "its MLP is a mixture of experts"},
      {"deepseek_v2", "its keys and values are latent"},
      {"deepseek_v3", "its keys and values are latent"},
      {"mamba", "it has no attention"},
      {"gpt2", "its positions are learned"},
  };
  for (const Feature& feature : kFeatures) {
    if (architecture == feature.architecture) return std::string(": ") + feature.what;
  }
  return "";
}

const ArchitectureInfo& find_architecture(const std::string& name, const std::string& file) {
  std::string known;
  for (const ArchitectureInfo* info : registry_architectures()) {
    if (info->name == name) return *info;
    known += (known.empty() ? "" : ", ") + info->name;
  }
  throw UserError(fmt::format("{}: architecture '{}' is not supported{} (known: {})", file, name,
                              missing_feature(name), known));
}

namespace {

// Tensors in the order they are first named. A fused tensor is named by several parts; its rows end where the
// last one ends.
class ShapeList {
 public:
  void matrix(const std::string& name, int64_t rows, int64_t in) { put(name, {rows, in}); }
  void vector(const std::string& name, int64_t size) { put(name, {size}); }
  void norm(const NormTensors& norm) {
    if (!norm.weight.empty()) vector(norm.weight, norm.size);
    if (!norm.bias.empty()) vector(norm.bias, norm.size);
  }
  void linear(const LinearTensors& linear) {
    for (const TensorRows& part : linear.weight) matrix(part.tensor, part.first + part.rows, linear.in);
    for (const TensorRows& part : linear.bias) vector(part.tensor, part.first + part.rows);
  }
  std::vector<TensorShape> take() { return std::move(shapes_); }

 private:
  void put(const std::string& name, std::vector<int64_t> shape) {
    const auto [place, is_new] = places_.emplace(name, shapes_.size());
    if (is_new) {
      shapes_.push_back({name, std::move(shape)});
    } else {
      int64_t& rows = shapes_[place->second].shape[0];
      rows = std::max(rows, shape[0]);
    }
  }
  std::vector<TensorShape> shapes_;
  std::map<std::string, size_t> places_;
};

}  // namespace

std::vector<TensorShape> tensor_shapes(const DecoderTensors& tensors, const ModelConfig& config) {
  ShapeList list;
  list.matrix(tensors.embedding, config.vocab, config.hidden);
  for (const LayerTensors& layer : tensors.layers) {
    for (const NormTensors* norm : {&layer.input_norm, &layer.mlp_norm, &layer.query_norm, &layer.key_norm,
                                    &layer.attention_norm, &layer.output_norm}) {
      list.norm(*norm);
    }
    for (const LinearTensors* linear : {&layer.qkv, &layer.output, &layer.up, &layer.down})
      list.linear(*linear);
  }
  list.norm(tensors.final_norm);
  list.matrix(tensors.head, config.vocab, config.hidden);
  return list.take();
}

namespace {

// Whole tensors one after the other, with biases of the same names where `biased`.
LinearTensors whole(const std::string& prefix, std::vector<std::pair<const char*, int>> names, int in,
                    bool biased) {
  LinearTensors linear;
  linear.in = in;
  for (const auto& [name, rows] : names) {
    linear.weight.push_back({prefix + name + ".weight", rows});
    if (biased) linear.bias.push_back({prefix + name + ".bias", rows});
  }
  return linear;
}

}  // namespace

DecoderTensors llama_tensors(const ModelConfig& c) {
  const int q = c.query_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  DecoderTensors tensors;
  tensors.embedding = "model.embed_tokens.weight";
  tensors.head = c.tied_embeddings ? tensors.embedding : "lm_head.weight";
  tensors.final_norm = {"model.norm.weight", "", c.hidden};
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = fmt::format("model.layers.{}.", i), attention = p + "self_attn.", mlp = p + "mlp.";
    LayerTensors layer;
    layer.input_norm = {p + "input_layernorm.weight", "", c.hidden};
    layer.mlp_norm = {p + "post_attention_layernorm.weight", "", c.hidden};
    layer.qkv = whole(attention, {{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}, c.hidden, c.qkv_bias);
    layer.output = whole(attention, {{"o_proj", c.hidden}}, q, c.output_bias);
    layer.up = whole(mlp, {{"gate_proj", c.intermediate}, {"up_proj", c.intermediate}}, c.hidden, c.mlp_bias);
    layer.down = whole(mlp, {{"down_proj", c.hidden}}, c.intermediate, c.mlp_bias);
    tensors.layers.push_back(std::move(layer));
  }
  return tensors;
}

GgufLayout llama_gguf(const std::string& architecture, RowOrder query_key_order) {
  return {architecture,
          "model.layers.",
          {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}},
          {{"attn_norm", "input_layernorm"},
           {"attn_q", "self_attn.q_proj", query_key_order},
           {"attn_k", "self_attn.k_proj", query_key_order},
           {"attn_v", "self_attn.v_proj"},
           {"attn_output", "self_attn.o_proj"},
           {"ffn_norm", "post_attention_layernorm"},
           {"ffn_gate", "mlp.gate_proj"},
           {"ffn_up", "mlp.up_proj"},
           {"ffn_down", "mlp.down_proj"}}};
}

Activation read_activation(const JsonSettings& json, const char* key) {
  const std::string name = json.text(key).value_or("silu");
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  throw json.bad(
      key, "silu, relu, gelu, gelu_new, gelu_fast or gelu_pytorch_tanh: no other activation is supported");
}

bool gguf_has_layer_tensor(const GgufFile& file, const char* name) {
  return file.has_tensor(std::string("blk.0.") + name);
}

}  // namespace kvlab
