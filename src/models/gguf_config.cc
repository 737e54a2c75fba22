// A GGUF file as a model: its settings under "<architecture>.*", and its tensors under their Hugging Face
// names.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"
#include "models/gguf_weights.h"
#include "models/model_check.h"
#include "models/readers.h"

namespace kvlab {
namespace {

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

// Converters write the whole magnitude that config.json says as yarn_attn_factor; attn_factor multiplies what
// follows from the factor.
void read_yarn(const SettingsReader& reader, RotarySettings& rotary) {
  const auto value = [&](const char* name, double usual) {
    return reader.optional_positive(std::string("rope.scaling.") + name).value_or(usual);
  };
  rotary.original_context = reader.integer("rope.scaling.original_context_length", kMostContext);
  rotary.beta_fast = value("yarn_beta_fast", 32.0);
  rotary.beta_slow = value("yarn_beta_slow", 1.0);
  rotary.magnitude = value("attn_factor", 1.0) * (1.0 + 0.1 * std::log(rotary.factor));
  rotary.magnitude = value("yarn_attn_factor", rotary.magnitude);
}

void read_rotary(const GgufFile& file, const SettingsReader& reader, ModelConfig& config) {
  using Kind = RotarySettings::Kind;
  RotarySettings& rotary = config.rotary;
  rotary.theta = reader.optional_positive("rope.freq_base").value_or(10000.0);
  rotary.dims = static_cast<int>(
      reader.optional_integer("rope.dimension_count", kMostHeadDim).value_or(config.head_dim));
  const std::string scaling = file.text(reader.key("rope.scaling.type")).value_or("none");
  const auto factor = reader.optional_positive("rope.scaling.factor");
  const auto old_factor = reader.optional_positive("rope.scale_linear");
  if (scaling == "linear" || (scaling == "none" && old_factor.value_or(1.0) != 1.0)) {
    if (!factor && !old_factor) throw reader.missing(reader.key("rope.scaling.factor"));
    rotary.kind = Kind::kLinear;
    rotary.factor = factor ? *factor : *old_factor;
  } else if (scaling == "yarn") {
    if (!factor) throw reader.missing(reader.key("rope.scaling.factor"));
    rotary.kind = Kind::kYarn;
    rotary.factor = *factor;
    read_yarn(reader, rotary);
  } else if (scaling != "none") {
    throw UserError(fmt::format(
        "{}: rotary scaling '{}' is not supported (supported: none, linear, yarn, and divisors in {})",
        file.path(), scaling, kRopeDivisors));
  }
  for (const char* tensor : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
    if (!file.has_tensor(tensor)) continue;
    throw UserError(
        fmt::format("{}: tensor '{}': rotary scaling 'longrope' is not supported", file.path(), tensor));
  }
}

const ArchitectureInfo& architecture_of(const SettingsReader& reader, const std::string& path) {
  std::string known;
  for (const ArchitectureInfo* info : registry_architectures()) {
    if (info->gguf.architecture.empty()) continue;
    if (info->gguf.architecture == reader.architecture()) return *info;
    known += (known.empty() ? "" : ", ") + info->gguf.architecture;
  }
  throw UserError(fmt::format("{}: architecture '{}' is not supported{} (known: {})", path,
                              reader.architecture(), missing_feature(reader.architecture()), known));
}

double norm_eps(const SettingsReader& reader) {
  const auto rms = reader.optional_positive("attention.layer_norm_rms_epsilon");
  const auto epsilon = rms ? rms : reader.optional_positive("attention.layer_norm_epsilon");
  if (!epsilon) throw reader.missing(reader.key("attention.layer_norm_rms_epsilon"));
  return *epsilon;
}

}  // namespace

ModelFiles open_gguf_model(const std::string& path) {
  const auto file = GgufFile::open(path);
  const SettingsReader reader(*file);
  const ArchitectureInfo& architecture = architecture_of(reader, path);
  ModelFiles files;
  ModelConfig& config = files.config;
  config.architecture = architecture.name;
  // Not general.name: people know a model by its file, and converters fill that key with anything.
  config.name = std::filesystem::path(path).stem().string();
  read_sizes(*file, reader, config);
  read_rotary(*file, reader, config);
  config.norm_eps = norm_eps(reader);
  config.tied_embeddings = !file->has_tensor("output.weight");
  architecture.read_gguf(*file, config);
  check_config(config, path);
  config.rotary.divisors = read_divisors(*file, config.rotary.dims);
  files.weights = open_gguf_weights(file, architecture.gguf, config);
  files.notes = check_tensors(architecture, config, *files.weights);
  config.weight_types = weight_types(*files.weights);
  return files;
}

}  // namespace kvlab
