#include "support/tiny_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>
#include <stdexcept>

#include "support/normal.h"

namespace kvlab::testing {
namespace {

namespace fs = std::filesystem;

constexpr double kFactor = 8, kLowFreqFactor = 1, kHighFreqFactor = 4, kOriginalContext = 64;
constexpr double kNormEps = 1e-5;

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
        kOriginalContext * std::pow(options.theta, -2.0 * i / options.head_dim) / (2 * std::numbers::pi);
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

void set_metadata(GgufFileWriter& gguf, const TinyModelOptions& options) {
  gguf.name("tiny random llama");
  gguf.integer("block_count", options.layers);
  gguf.integer("context_length", options.context);
  gguf.integer("embedding_length", options.hidden);
  gguf.integer("feed_forward_length", options.intermediate);
  gguf.integer("attention.head_count", options.query_heads);
  gguf.integer("attention.head_count_kv", options.kv_heads);
  gguf.integer("attention.key_length", options.head_dim);
  gguf.integer("attention.value_length", options.head_dim);
  gguf.integer("rope.dimension_count", options.head_dim);
  gguf.real("rope.freq_base", options.theta);
  gguf.real("attention.layer_norm_rms_epsilon", kNormEps);
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
  GgufFileWriter gguf("llama");
  set_metadata(gguf, options);
  gguf.write(gguf_tensors(options), type, file);
  return file;
}

}  // namespace kvlab::testing
