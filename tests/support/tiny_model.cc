#include "support/tiny_model.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>  // ggml's
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/random.h"

namespace kvlab::testing {
namespace {

namespace fs = std::filesystem;

constexpr double kPi = 3.14159265358979323846;
constexpr double kFactor = 8, kLowFreqFactor = 1, kHighFreqFactor = 4, kOriginalContext = 64;
constexpr double kNormEps = 1e-5;

// Normal numbers, the same on every system (std::normal_distribution is not).
class Normal {
 public:
  explicit Normal(uint64_t seed) : state_(mix64(seed)) {}
  float next(double mean, double deviation) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return static_cast<float>(mean + deviation * radius * std::cos(2 * kPi * uniform()));
  }

 private:
  double uniform() { return static_cast<double>((state_ = mix64(state_)) >> 11) * 0x1p-53; }
  uint64_t state_;
};

nlohmann::ordered_json rotary_json(const TinyModelOptions& options) {
  nlohmann::ordered_json rotary;
  rotary["rope_type"] = options.llama3_rotary ? "llama3" : "default";
  if (options.llama3_rotary) {
    rotary["factor"] = kFactor;
    rotary["low_freq_factor"] = kLowFreqFactor;
    rotary["high_freq_factor"] = kHighFreqFactor;
    rotary["original_max_position_embeddings"] = static_cast<int>(kOriginalContext);
  }
  return rotary;
}

nlohmann::ordered_json config_json(const TinyModelOptions& options) {
  nlohmann::ordered_json config = {{"architectures", {"LlamaForCausalLM"}},
                                   {"attention_bias", false},
                                   {"head_dim", options.head_dim},
                                   {"hidden_act", "silu"},
                                   {"hidden_size", options.hidden},
                                   {"intermediate_size", options.intermediate},
                                   {"max_position_embeddings", options.context},
                                   {"mlp_bias", false},
                                   {"model_type", "llama"},
                                   {"num_attention_heads", options.query_heads},
                                   {"num_hidden_layers", options.layers},
                                   {"num_key_value_heads", options.kv_heads},
                                   {"rms_norm_eps", kNormEps},
                                   {"tie_word_embeddings", options.tied},
                                   {"vocab_size", options.vocab}};
  nlohmann::ordered_json rotary = rotary_json(options);
  if (options.old_rotary_spelling) {
    config["rope_theta"] = options.theta;
    if (options.llama3_rotary) config["rope_scaling"] = rotary;
  } else {
    rotary["rope_theta"] = options.theta;
    config["rope_parameters"] = rotary;
  }
  return config;
}

// Llama 3.1's scaling as one divisor a frequency, as converters of GGUF files write it.
NamedTensor rotary_divisors(const TinyModelOptions& options) {
  NamedTensor tensor{"rope_freqs.weight", {options.head_dim / 2}, {}};
  for (int i = 0; i < options.head_dim / 2; ++i) {
    const double turns =  // of this frequency within the original context
        kOriginalContext * std::pow(options.theta, -2.0 * i / options.head_dim) / (2 * kPi);
    double divisor = 1;
    if (turns < kLowFreqFactor) {
      divisor = kFactor;
    } else if (turns <= kHighFreqFactor) {
      const double smooth = (turns - kLowFreqFactor) / (kHighFreqFactor - kLowFreqFactor);
      divisor = 1 / ((1 - smooth) / kFactor + smooth);
    }
    tensor.values.push_back(static_cast<float>(divisor));
  }
  return tensor;
}

// Half-split rows to interleaved ones: row (half, pair) of a head goes to place 2 * pair + half.
void permute_rows(NamedTensor& tensor, int head_dim) {
  const int64_t columns = tensor.shape[1];
  const std::vector<float> old = tensor.values;
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    const int64_t head = row / head_dim, half = row % head_dim / (head_dim / 2), pair = row % (head_dim / 2);
    const int64_t place = head * head_dim + 2 * pair + half;
    std::copy_n(old.begin() + row * columns, columns, tensor.values.begin() + place * columns);
  }
}

std::string gguf_name(std::string name) {
  static const std::pair<const char*, const char*> pairs[] = {
      {"model.layers.", "blk."},        {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},    {"lm_head", "output"},
      {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const auto& [from, to] : pairs) {
    const size_t found = name.find(from);
    if (found != std::string::npos) name.replace(found, std::string(from).size(), to);
  }
  return name;
}

ggml_type ggml_type_of(TinyGgufType type) {
  switch (type) {
    case TinyGgufType::kF32:
      return GGML_TYPE_F32;
    case TinyGgufType::kF16:
      return GGML_TYPE_F16;
    case TinyGgufType::kBF16:
      return GGML_TYPE_BF16;
    case TinyGgufType::kQ8_0:
      return GGML_TYPE_Q8_0;
    case TinyGgufType::kQ4_1:
      return GGML_TYPE_Q4_1;
  }
  throw std::invalid_argument("unknown type");
}

void set_metadata(gguf_context* gguf, const TinyModelOptions& options) {
  gguf_set_val_str(gguf, "general.architecture", "llama");
  gguf_set_val_str(gguf, "general.name", "tiny random llama");
  gguf_set_val_u32(gguf, "llama.block_count", options.layers);
  gguf_set_val_u32(gguf, "llama.context_length", options.context);
  gguf_set_val_u32(gguf, "llama.embedding_length", options.hidden);
  gguf_set_val_u32(gguf, "llama.feed_forward_length", options.intermediate);
  gguf_set_val_u32(gguf, "llama.attention.head_count", options.query_heads);
  gguf_set_val_u32(gguf, "llama.attention.head_count_kv", options.kv_heads);
  gguf_set_val_u32(gguf, "llama.attention.key_length", options.head_dim);
  gguf_set_val_u32(gguf, "llama.attention.value_length", options.head_dim);
  gguf_set_val_u32(gguf, "llama.rope.dimension_count", options.head_dim);
  gguf_set_val_f32(gguf, "llama.rope.freq_base", static_cast<float>(options.theta));
  gguf_set_val_f32(gguf, "llama.attention.layer_norm_rms_epsilon", static_cast<float>(kNormEps));
}

std::vector<NamedTensor> gguf_tensors(const TinyModelOptions& options) {
  std::vector<NamedTensor> tensors = tiny_tensors(options);
  for (NamedTensor& tensor : tensors) {
    tensor.name = gguf_name(tensor.name);
    const bool rotary =
        tensor.name.find("attn_q.") != std::string::npos || tensor.name.find("attn_k.") != std::string::npos;
    if (rotary) permute_rows(tensor, options.head_dim);
  }
  if (options.llama3_rotary) tensors.push_back(rotary_divisors(options));
  return tensors;
}

// Converts a tensor into `bytes` and adds it to the file under construction.
void add_tensor(gguf_context* gguf, ggml_context* ggml, const NamedTensor& tensor, ggml_type type,
                std::vector<std::byte>& bytes) {
  const bool matrix = tensor.shape.size() == 2;
  const int64_t columns = tensor.shape.back(), rows = matrix ? tensor.shape[0] : 1;
  if (columns % ggml_blck_size(type) != 0) {
    throw std::invalid_argument(fmt::format("{}: {} columns cannot be quantised", tensor.name, columns));
  }
  ggml_tensor* entry =
      matrix ? ggml_new_tensor_2d(ggml, type, columns, rows) : ggml_new_tensor_1d(ggml, type, columns);
  ggml_set_name(entry, tensor.name.c_str());
  bytes.resize(ggml_row_size(type, columns) * static_cast<size_t>(rows));
  ggml_quantize_chunk(type, tensor.values.data(), bytes.data(), 0, rows, columns, nullptr);
  entry->data = bytes.data();
  gguf_add_tensor(gguf, entry);
}

}  // namespace

TempFolder::TempFolder() {
  static std::atomic<int> count{0};
  path_ = fs::temp_directory_path() / fmt::format("kvlab_test_{}_{}", getpid(), count++);
  fs::create_directories(path_);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<NamedTensor> tiny_tensors(const TinyModelOptions& options) {
  Normal normal(options.seed);
  std::vector<NamedTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool norm = shape.size() == 1;
    size_t elements = 1;
    for (const int64_t size : shape) elements *= static_cast<size_t>(size);
    std::vector<float> values(elements);
    for (float& value : values) value = norm ? normal.next(1, 0.1) : normal.next(0, 0.2);
    tensors.push_back({name, std::move(shape), std::move(values)});
  };
  const int64_t hidden = options.hidden, intermediate = options.intermediate, vocab = options.vocab;
  const int64_t query = int64_t{options.query_heads} * options.head_dim;
  const int64_t kv = int64_t{options.kv_heads} * options.head_dim;
  add("model.embed_tokens.weight", {vocab, hidden});
  for (int layer = 0; layer < options.layers; ++layer) {
    const std::string start = fmt::format("model.layers.{}.", layer);
    add(start + "input_layernorm.weight", {hidden});
    add(start + "self_attn.q_proj.weight", {query, hidden});
    add(start + "self_attn.k_proj.weight", {kv, hidden});
    add(start + "self_attn.v_proj.weight", {kv, hidden});
    add(start + "self_attn.o_proj.weight", {hidden, query});
    add(start + "post_attention_layernorm.weight", {hidden});
    add(start + "mlp.gate_proj.weight", {intermediate, hidden});
    add(start + "mlp.up_proj.weight", {intermediate, hidden});
    add(start + "mlp.down_proj.weight", {hidden, intermediate});
  }
  add("model.norm.weight", {hidden});
  if (!options.tied) add("lm_head.weight", {vocab, hidden});
  return tensors;
}

fs::path write_tiny_hf(const TinyModelOptions& options, const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream config(folder / "config.json");
  config << config_json(options).dump(2) << "\n";
  if (!config.flush()) throw std::runtime_error("cannot write " + (folder / "config.json").string());
  write_safetensors((folder / "model.safetensors").string(), tiny_tensors(options));
  return folder;
}

fs::path write_tiny_gguf(const TinyModelOptions& options, const fs::path& file, TinyGgufType type) {
  const std::vector<NamedTensor> tensors = gguf_tensors(options);
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> gguf(gguf_init_empty(), gguf_free);
  ggml_init_params params{};
  params.mem_size = ggml_tensor_overhead() * (tensors.size() + 1);
  params.no_alloc = true;
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> ggml(ggml_init(params), ggml_free);
  set_metadata(gguf.get(), options);
  std::vector<std::vector<std::byte>> bytes(tensors.size());  // ggml keeps pointers until the file is written
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool matrix = tensors[i].shape.size() == 2;
    add_tensor(gguf.get(), ggml.get(), tensors[i], matrix ? ggml_type_of(type) : GGML_TYPE_F32, bytes[i]);
  }
  if (!gguf_write_to_file(gguf.get(), file.c_str(), false)) {
    throw std::runtime_error("cannot write " + file.string());
  }
  return file;
}

}  // namespace kvlab::testing
