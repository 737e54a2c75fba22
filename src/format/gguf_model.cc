// A GGUF file as a model: its settings under "<architecture>.*", and its tensors under their Hugging Face
// names.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "base/error.h"
#include "format/gguf.h"
#include "format/model_check.h"

namespace kvlab {
namespace {

struct NamePair {
  const char* gguf;
  const char* hugging_face;
};

constexpr NamePair kModelNames[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr NamePair kLayerNames[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};

constexpr const char* kRopeDivisors = "rope_freqs.weight";

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". Names without a translation stay as they
// are.
std::string hugging_face_name(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return name;
  const std::string stem = name.substr(0, dot), end = name.substr(dot);
  for (const NamePair& pair : kModelNames) {
    if (stem == pair.gguf) return pair.hugging_face + end;
  }
  if (stem.compare(0, 4, "blk.") != 0) return name;
  const size_t after = stem.find('.', 4);
  if (after == std::string::npos) return name;
  for (const NamePair& pair : kLayerNames) {
    if (stem.compare(after + 1, std::string::npos, pair.gguf) == 0) {
      return "model.layers." + stem.substr(4, after - 4) + "." + pair.hugging_face + end;
    }
  }
  return name;
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && std::string_view(text).substr(text.size() - end.size()) == end;
}

class GgufWeights final : public Weights {
 public:
  // `permuted`: the file holds Q and K rows in the order of interleaved rotary, heads of `head_dim` rows.
  GgufWeights(std::shared_ptr<const GgufFile> file, bool permuted, int head_dim)
      : file_(std::move(file)), permuted_(permuted), head_dim_(head_dim) {
    for (const std::string& name : file_->tensor_names()) {
      if (name == kRopeDivisors) continue;  // it is in the settings
      const std::string translated = hugging_face_name(name);
      if (!gguf_names_.emplace(translated, name).second) {
        throw UserError(fmt::format("{}: tensor '{}' appears twice", file_->path(), name));
      }
      names_.push_back(translated);
    }
  }

  const std::string& path() const override { return file_->path(); }
  bool has(const std::string& name) const override { return gguf_names_.count(name) != 0; }
  std::vector<int64_t> shape(const std::string& name) const override {
    return file_->tensor_shape(gguf_name(name));
  }
  std::string type(const std::string& name) const override { return file_->tensor_type(gguf_name(name)); }
  std::vector<std::string> names() const override { return names_; }

  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override {
    const std::string& source = gguf_name(name);
    if (!is_permuted(name)) return file_->read_rows(source, first, count, out);
    const int64_t row_length = check_permuted(source, first, count);
    for (int64_t i = 0; i < count; ++i) {
      file_->read_rows(source, interleaved_row(first + i), 1, out + i * row_length);
    }
  }

  bool read_blocks(const std::string& name, int64_t first, int64_t count,
                   std::span<std::byte> out) const override {
    const std::string& source = gguf_name(name);
    if (!is_permuted(name)) {
      file_->read_blocks(source, first, count, out);
      return true;
    }
    check_permuted(source, first, count);
    const size_t row = count > 0 ? out.size() / static_cast<size_t>(count) : 0;
    for (int64_t i = 0; i < count; ++i) {
      file_->read_blocks(source, interleaved_row(first + i), 1,
                         out.subspan(static_cast<size_t>(i) * row, row));
    }
    return true;
  }

 private:
  bool is_permuted(const std::string& name) const {
    return permuted_ &&
           (ends_with(name, "self_attn.q_proj.weight") || ends_with(name, "self_attn.k_proj.weight"));
  }

  // Throws UserError unless the tensor has whole heads and these rows; gives the length of a row.
  int64_t check_permuted(const std::string& source, int64_t first, int64_t count) const {
    const std::vector<int64_t> shape = file_->tensor_shape(source);
    const int64_t rows = shape.size() < 2 ? 1 : shape[0];
    if (shape.size() != 2 || rows % head_dim_ != 0 || first < 0 || count < 0 || first > rows - count) {
      throw UserError(fmt::format("{}: tensor '{}': rows {} + {} asked of shape {}, heads of {} rows", path(),
                                  source, first, count, shape_text(shape), head_dim_));
    }
    return shape[1];
  }

  // Rotary turns pairs of rows. Half-split, a head is [first of each pair][second of each pair]; interleaved,
  // the two of a pair are neighbours. Gives the place in the file of half-split row `row`.
  int64_t interleaved_row(int64_t row) const {
    const int64_t half = head_dim_ / 2, in_head = row % head_dim_;
    return row - in_head + 2 * (in_head % half) + in_head / half;
  }

  const std::string& gguf_name(const std::string& name) const {
    const auto found = gguf_names_.find(name);
    if (found == gguf_names_.end()) throw UserError(fmt::format("{}: no tensor '{}'", path(), name));
    return found->second;
  }

  std::shared_ptr<const GgufFile> file_;
  bool permuted_;
  int64_t head_dim_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> gguf_names_;  // by Hugging Face name
};

// Reads settings and checks their ranges; errors name the file, the key and the value.
class SettingsReader {
 public:
  explicit SettingsReader(const GgufFile& file) : file_(file) {
    const auto architecture = file.text("general.architecture");
    if (!architecture || architecture->empty()) throw missing("general.architecture");
    architecture_ = *architecture;
  }

  const std::string& architecture() const { return architecture_; }
  std::string key(const std::string& name) const { return architecture_ + "." + name; }

  int64_t integer(const std::string& name, int64_t most) const {
    const auto value = optional_integer(name, most);
    if (!value) throw missing(key(name));
    return *value;
  }

  // 1..most when the key is there.
  std::optional<int64_t> optional_integer(const std::string& name, int64_t most) const {
    const auto value = file_.integer(key(name));
    if (value && (*value < 1 || *value > most)) {
      throw bad(name, fmt::format("{}", *value), fmt::format("1..{}", most));
    }
    return value;
  }

  std::optional<double> optional_positive(const std::string& name) const {
    const auto value = file_.real(key(name));
    if (value && !(*value > 0 && std::isfinite(*value))) {
      throw bad(name, fmt::format("{}", *value), "a positive number");
    }
    return value;
  }

  UserError bad(const std::string& name, const std::string& value, const std::string& expected) const {
    return UserError(
        fmt::format("{}: key '{}' is {} (expected {})", file_.path(), key(name), value, expected));
  }

  UserError missing(const std::string& full_key) const {
    return UserError(fmt::format("{}: key '{}' is missing", file_.path(), full_key));
  }

 private:
  const GgufFile& file_;
  std::string architecture_;
};

void read_sizes(const GgufFile& file, const SettingsReader& reader, ModelConfig& config) {
  config.layers = static_cast<int>(reader.integer("block_count", kMostLayers));
  config.hidden = static_cast<int>(reader.integer("embedding_length", kMostWidth));
  config.intermediate = static_cast<int>(reader.integer("feed_forward_length", kMostWidth));
  config.query_heads = static_cast<int>(reader.integer("attention.head_count", kMostHeads));
  config.kv_heads = static_cast<int>(
      reader.optional_integer("attention.head_count_kv", kMostHeads).value_or(config.query_heads));
  config.context = reader.integer("context_length", kMostContext);
  const auto head_dim = reader.optional_integer("attention.key_length", kMostHeadDim);
  if (!head_dim && config.hidden % config.query_heads != 0) {
    throw reader.bad("attention.head_count", fmt::format("{}", config.query_heads),
                     fmt::format("a divisor of {}, the embedding length", config.hidden));
  }
  config.head_dim = static_cast<int>(head_dim.value_or(config.hidden / config.query_heads));
  if (config.head_dim > kMostHeadDim) {
    throw reader.bad("attention.head_count", fmt::format("{}", config.query_heads),
                     fmt::format("heads of at most {} dimensions", kMostHeadDim));
  }
  const auto value_length = reader.optional_integer("attention.value_length", kMostHeadDim);
  if (value_length && *value_length != config.head_dim) {
    throw reader.bad("attention.value_length", fmt::format("{}", *value_length),
                     fmt::format("the key length, {}", config.head_dim));
  }
  if (!file.has_tensor("token_embd.weight")) {
    throw UserError(fmt::format("{}: no tensor 'token_embd.weight'", file.path()));
  }
  const std::vector<int64_t> embedding = file.tensor_shape("token_embd.weight");
  if (embedding.size() != 2 || embedding[0] > kMostVocab || embedding[1] != config.hidden) {
    throw UserError(fmt::format("{}: tensor 'token_embd.weight' has shape {}, expected [vocab, {}]",
                                file.path(), shape_text(embedding), config.hidden));
  }
  config.vocab = static_cast<int>(embedding[0]);
}

std::vector<float> read_divisors(const GgufFile& file, int dims) {
  if (!file.has_tensor(kRopeDivisors)) return {};
  const std::vector<int64_t> shape = file.tensor_shape(kRopeDivisors);
  if (shape != std::vector<int64_t>{dims / 2}) {
    throw UserError(fmt::format("{}: tensor '{}' has shape {}, expected [{}]", file.path(), kRopeDivisors,
                                shape_text(shape), dims / 2));
  }
  std::vector<float> divisors(static_cast<size_t>(dims / 2));
  file.read_rows(kRopeDivisors, 0, 1, divisors.data());
  for (const float divisor : divisors) {
    if (!(divisor > 0) || !std::isfinite(divisor)) {
      throw UserError(fmt::format("{}: tensor '{}' holds {} (expected positive numbers)", file.path(),
                                  kRopeDivisors, divisor));
    }
  }
  return divisors;
}

void read_rotary(const GgufFile& file, const SettingsReader& reader, ModelConfig& config) {
  RotarySettings& rotary = config.rotary;
  rotary.theta = reader.optional_positive("rope.freq_base").value_or(10000.0);
  rotary.dims = static_cast<int>(
      reader.optional_integer("rope.dimension_count", kMostHeadDim).value_or(config.head_dim));
  const auto scaling = file.text(reader.key("rope.scaling.type"));
  if (scaling && *scaling != "none") {
    throw UserError(fmt::format("unsupported rotary scaling '{}' in {}; supported: none, and divisors in {}",
                                *scaling, file.path(), kRopeDivisors));
  }
  const auto linear = reader.optional_positive("rope.scale_linear");
  if (linear && *linear != 1.0) throw reader.bad("rope.scale_linear", fmt::format("{}", *linear), "1");
}

// Settings and tensors that change what a llama computes and that kvlab does not have.
void refuse_unsupported(const SettingsReader& reader, const Weights& weights, const ModelConfig& config) {
  const auto window = reader.optional_integer("attention.sliding_window", kMostContext);
  if (window && *window < config.context) {
    throw reader.bad("attention.sliding_window", fmt::format("{}", *window),
                     "none: sliding windows are not supported");
  }
  if (config.architecture != "llama") return;
  for (const std::string& name : weights.names()) {
    if (ends_with(name, ".bias")) {
      throw UserError(fmt::format("{}: tensor '{}': biases are not supported for the llama architecture",
                                  weights.path(), name));
    }
  }
}

}  // namespace

ModelFiles open_gguf_model(const std::string& path) {
  const auto file = GgufFile::open(path);
  const SettingsReader reader(*file);
  ModelConfig config;
  config.architecture = reader.architecture();
  // Not general.name: people know a model by its file, and converters fill that key with anything.
  config.name = std::filesystem::path(path).stem().string();
  read_sizes(*file, reader, config);
  read_rotary(*file, reader, config);
  check_config(config, path);
  config.rotary.divisors = read_divisors(*file, config.rotary.dims);
  const auto rms = reader.optional_positive("attention.layer_norm_rms_epsilon");
  const auto epsilon = rms ? rms : reader.optional_positive("attention.layer_norm_epsilon");
  if (!epsilon) throw reader.missing(reader.key("attention.layer_norm_rms_epsilon"));
  config.norm_eps = *epsilon;
  config.tied_embeddings = !file->has_tensor("output.weight");
  const bool permuted = config.architecture == "llama";
  if (permuted && config.head_dim % 2 != 0) {
    throw UserError(
        fmt::format("{}: heads of {} dimensions (expected an even number)", path, config.head_dim));
  }
  auto weights = std::make_shared<GgufWeights>(file, permuted, config.head_dim);
  refuse_unsupported(reader, *weights, config);
  check_shapes(config, *weights);
  config.weight_types = weight_types(*weights);
  return {std::move(config), std::move(weights)};
}

}  // namespace kvlab
