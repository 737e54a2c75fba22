#include "format/model_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"

namespace kvlab {
namespace {

using Shape = std::vector<int64_t>;

void check_shape(const Weights& weights, const std::string& name, const Shape& expected) {
  const Shape found = weights.shape(name);
  if (found == expected) return;
  throw UserError(fmt::format("{}: tensor '{}' has shape {}, the settings ask for {}", weights.path(), name,
                              shape_text(found), shape_text(expected)));
}

// The tensors of one layer, by the end of their names, with the shapes the settings ask for.
std::vector<std::pair<std::string, Shape>> layer_shapes(const ModelConfig& config) {
  const int64_t hidden = config.hidden, intermediate = config.intermediate;
  const int64_t query = int64_t{config.query_heads} * config.head_dim;
  const int64_t kv = int64_t{config.kv_heads} * config.head_dim;
  return {{"input_layernorm.weight", {hidden}},
          {"post_attention_layernorm.weight", {hidden}},
          {"self_attn.q_proj.weight", {query, hidden}},
          {"self_attn.k_proj.weight", {kv, hidden}},
          {"self_attn.v_proj.weight", {kv, hidden}},
          {"self_attn.o_proj.weight", {hidden, query}},
          {"mlp.gate_proj.weight", {intermediate, hidden}},
          {"mlp.up_proj.weight", {intermediate, hidden}},
          {"mlp.down_proj.weight", {hidden, intermediate}}};
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

void check_config(const ModelConfig& config, const std::string& file) {
  if (config.query_heads % config.kv_heads != 0) {
    throw UserError(fmt::format("{}: {} query heads are not a multiple of {} key-value heads", file,
                                config.query_heads, config.kv_heads));
  }
  if (config.rotary.dims < 2 || config.rotary.dims % 2 != 0 || config.rotary.dims > config.head_dim) {
    throw UserError(fmt::format("{}: {} rotary dimensions do not fit heads of {} (expected an even number)",
                                file, config.rotary.dims, config.head_dim));
  }
}

void check_shapes(const ModelConfig& config, const Weights& weights) {
  static const std::set<std::string> llama_like = {"llama", "mistral", "qwen2", "qwen3"};
  const Shape embedding = {config.vocab, config.hidden};
  const bool all = llama_like.count(config.architecture) != 0;
  if (all || weights.has("model.embed_tokens.weight")) {
    check_shape(weights, "model.embed_tokens.weight", embedding);
  }
  if (!all) return;
  check_shape(weights, "model.norm.weight", {config.hidden});
  if (!config.tied_embeddings) check_shape(weights, "lm_head.weight", embedding);
  const auto shapes = layer_shapes(config);
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const auto& [end, shape] : shapes) {
      check_shape(weights, fmt::format("model.layers.{}.{}", layer, end), shape);
    }
  }
}

std::string weight_types(const Weights& weights) {
  std::map<std::string, int> counts;
  for (const std::string& name : weights.names()) ++counts[weights.type(name)];
  std::vector<std::pair<std::string, int>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [type, count] : sorted) {
    text += fmt::format("{}{} ({} tensors)", text.empty() ? "" : ", ", type, count);
  }
  return text;
}

}  // namespace kvlab
