#include "models/model_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

constexpr size_t kMostListed = 6;  // tensors in one message

std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kMostListed); ++i)
    text += (text.empty() ? "" : "; ") + items[i];
  if (items.size() > kMostListed) text += fmt::format("; and {} more", items.size() - kMostListed);
  return text;
}

// Buffers that old checkpoints hold besides their weights, and what tied embeddings make superfluous.
bool is_harmless(const std::string& name, const DecoderTensors& tensors, const ModelConfig& config) {
  for (const char* end : {"rotary_emb.inv_freq", "attention.bias", "attention.masked_bias"}) {
    if (name.ends_with(end)) return true;
  }
  return config.tied_embeddings && name.find("layers.") == std::string::npos && name.ends_with(".weight") &&
         (name == "lm_head.weight" || name == "embed_out.weight") && name != tensors.embedding;
}

// "model.layers.3.mlp.gate.weight" -> 3; -1: not of a layer.
int layer_of(const std::string& name) {
  for (const char* mark : {"layers.", "blk."}) {
    const size_t found = name.find(mark);
    if (found == std::string::npos) continue;
    const size_t digits = found + std::string(mark).size();
    const size_t end = name.find_first_not_of("0123456789", digits);
    if (end == std::string::npos || end == digits || end - digits > 6) continue;
    return std::stoi(name.substr(digits, end - digits));
  }
  return -1;
}

std::string described(const Weights& weights, const std::string& name) {
  return fmt::format("{} {}", name, shape_text(weights.shape(name)));
}

}  // namespace

void check_config(const ModelConfig& config, const std::string& file) {
  if (config.query_heads % config.kv_heads != 0) {
    throw UserError(fmt::format("{}: {} query heads are not a multiple of {} key-value heads", file,
                                config.query_heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    throw UserError(fmt::format("{}: heads of {} dimensions (expected an even number, at most {})", file,
                                config.head_dim, kMaxHeadDim));
  }
  if (config.query_heads / config.kv_heads > kMaxGroup) {
    throw UserError(fmt::format("{}: {} query heads for each KV head (expected at most {})", file,
                                config.query_heads / config.kv_heads, kMaxGroup));
  }
  if (config.rotary.dims < 2 || config.rotary.dims % 2 != 0 || config.rotary.dims > config.head_dim) {
    throw UserError(fmt::format("{}: {} rotary dimensions do not fit heads of {} (expected an even number)",
                                file, config.rotary.dims, config.head_dim));
  }
}

std::vector<std::string> check_tensors(const ArchitectureInfo& architecture, const ModelConfig& config,
                                       const Weights& weights) {
  const DecoderTensors tensors = architecture.tensors(config);
  std::vector<std::string> missing, misshapen, alien, unused;
  std::set<std::string> known;
  for (const TensorShape& tensor : tensor_shapes(tensors, config)) {
    known.insert(tensor.name);
    if (!weights.has(tensor.name)) {
      missing.push_back(fmt::format("{} {}", tensor.name, shape_text(tensor.shape)));
    } else if (weights.shape(tensor.name) != tensor.shape) {
      misshapen.push_back(fmt::format("tensor '{}' has shape {}, the settings ask for {}", tensor.name,
                                      shape_text(weights.shape(tensor.name)), shape_text(tensor.shape)));
    }
  }
  if (!missing.empty()) {
    throw UserError(fmt::format("{}: {} of {} tensors of architecture {} are missing: {}", weights.path(),
                                missing.size(), known.size(), architecture.name, joined(missing)));
  }
  if (!misshapen.empty()) throw UserError(fmt::format("{}: {}", weights.path(), joined(misshapen)));
  for (const std::string& name : weights.names()) {
    if (known.count(name) || is_harmless(name, tensors, config)) continue;
    const int layer = layer_of(name);
    (layer >= 0 && layer < config.layers ? alien : unused).push_back(described(weights, name));
  }
  if (!alien.empty()) {
    throw UserError(
        fmt::format("{}: {} tensors have no place in a layer of architecture {}, so the model "
                    "computes something else than kvlab would: {}",
                    weights.path(), alien.size(), architecture.name, joined(alien)));
  }
  if (unused.empty()) return {};
  return {fmt::format("{} tensors are not used: {}", unused.size(), joined(unused))};
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
