#include "support/golden_gguf.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <stdexcept>

namespace kvlab::testing {
namespace {

using Json = nlohmann::json;

constexpr double kUsualBase = 10000.0;

// The settings of config.json (as transformers 5 spells it) that several keys need.
struct Source {
  explicit Source(const GoldenModel& golden)
      : config(golden.config),
        kind(golden.model_type()),
        rope(config.at("rope_parameters")),
        local_rope(rope.value("sliding_attention", Json::object())),
        layers(config.at("num_hidden_layers")),
        hidden(config.at("hidden_size")),
        heads(config.at("num_attention_heads")),
        kv_heads(config.value("num_key_value_heads", heads)),
        head_dim(config.value("head_dim", hidden / heads)) {
    if (const auto full = rope.find("full_attention"); full != rope.end()) rope = Json(*full);
  }

  bool is_gemma() const { return kind == "gemma2" || kind == "gemma3_text"; }
  // Their rotary turns neighbours in GGUF; everyone else's turns the halves of a head.
  bool permuted() const { return kind == "llama" || kind == "mistral"; }
  std::string rope_type() const { return rope.at("rope_type"); }

  Json config;
  std::string kind;
  Json rope, local_rope;
  int64_t layers, hidden, heads, kv_heads, head_dim;
};

std::string gguf_architecture(const std::string& kind) {
  static const std::map<std::string, std::string> others = {
      {"mistral", "llama"}, {"gpt_neox", "gptneox"}, {"gemma3_text", "gemma3"}};
  const auto other = others.find(kind);
  return other == others.end() ? kind : other->second;
}

// The number under a key, or `otherwise` when it is missing or null.
double number(const Json& json, const char* key, double otherwise) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? otherwise : found->get<double>();
}

void add_sizes(GgufFileWriter& gguf, const Source& source) {
  gguf.integer("block_count", source.layers);
  gguf.integer("context_length", source.config.at("max_position_embeddings"));
  gguf.integer("embedding_length", source.hidden);
  gguf.integer("feed_forward_length", source.config.at("intermediate_size"));
  gguf.integer("attention.head_count", source.heads);
  if (source.kind == "gpt_neox") {
    gguf.real("attention.layer_norm_epsilon", source.config.at("layer_norm_eps"));
    gguf.flag("use_parallel_residual", source.config.at("use_parallel_residual"));
    return;
  }
  gguf.integer("attention.head_count_kv", source.kv_heads);
  gguf.real("attention.layer_norm_rms_epsilon", source.config.at("rms_norm_eps"));
  if (source.config.contains("head_dim")) {
    gguf.integer("attention.key_length", source.head_dim);
    gguf.integer("attention.value_length", source.head_dim);
  }
  if (source.permuted()) gguf.integer("vocab_size", source.config.at("vocab_size"));
}

// The factor on cosine and sine where it is not yarn's usual 1 + 0.1 ln(factor); 0: it is.
double yarn_attention(const Json& rope) {
  if (const double given = number(rope, "attention_factor", 0); given > 0) return given;
  const double scale = number(rope, "mscale", 0), all = number(rope, "mscale_all_dim", 0);
  if (scale == 0 || all == 0) return 0;
  const double log = 0.1 * std::log(std::max(1.0, rope.at("factor").get<double>()));
  return (1 + scale * log) / (1 + all * log);
}

void add_scaling(GgufFileWriter& gguf, const Json& rope) {
  const std::string type = rope.at("rope_type");
  if (type != "linear" && type != "yarn") return;
  gguf.text("rope.scaling.type", type);
  gguf.real("rope.scaling.factor", rope.at("factor"));
  if (type == "linear") return;
  gguf.integer("rope.scaling.original_context_length", rope.at("original_max_position_embeddings"));
  if (const double attention = yarn_attention(rope); attention > 0) {
    gguf.real("rope.scaling.yarn_attn_factor", attention);
  }
  for (const char* key : {"beta_fast", "beta_slow"}) {
    if (const double beta = number(rope, key, 0); beta > 0) {
      gguf.real(std::string("rope.scaling.yarn_") + key, beta);
    }
  }
}

double longrope_attention(const Source& source) {
  const double original = source.config.at("original_max_position_embeddings");
  const double factor = source.config.at("max_position_embeddings").get<double>() / original;
  return factor > 1 ? std::sqrt(1 + std::log(factor) / std::log(original)) : 1.0;
}

void add_rotary(GgufFileWriter& gguf, const Source& source) {
  const double base = source.rope.at("rope_theta");
  const bool silent = source.kind == "gpt_neox" || source.kind == "gemma2";
  if (!silent || base != kUsualBase) gguf.real("rope.freq_base", base);
  if (!source.local_rope.empty()) gguf.real("rope.freq_base_swa", source.local_rope.at("rope_theta"));
  if (source.permuted() || source.kind == "gpt_neox" || source.kind == "phi3") {
    const double share = number(source.rope, "partial_rotary_factor", 1);
    gguf.integer("rope.dimension_count", static_cast<int64_t>(share * static_cast<double>(source.head_dim)));
  }
  if (source.kind == "phi3") {
    gguf.integer("rope.scaling.original_context_length",
                 source.config.at("original_max_position_embeddings"));
    if (source.rope_type() == "longrope") gguf.real("rope.scaling.attn_factor", longrope_attention(source));
  }
  add_scaling(gguf, source.rope);
}

void add_window(GgufFileWriter& gguf, const Source& source) {
  const auto window = static_cast<int64_t>(number(source.config, "sliding_window", 0));
  if (source.kind == "phi3") return gguf.integer("attention.sliding_window", window);
  if (window == 0) return;
  gguf.integer("attention.sliding_window", window);
  if (source.kind == "mistral") return;
  std::vector<bool> sliding;
  for (const Json& kind : source.config.at("layer_types")) sliding.push_back(kind == "sliding_attention");
  // Without a pattern readers take these, the last of each period being full.
  const size_t period = source.kind == "gemma2" ? 2 : source.kind == "gemma3_text" ? 6 : 0;
  bool usual = period != 0;
  for (size_t i = 0; usual && i < sliding.size(); ++i) usual = sliding[i] == (i % period < period - 1);
  if (!usual) gguf.flags("attention.sliding_window_pattern", sliding);
}

void add_gemma(GgufFileWriter& gguf, const Source& source) {
  const double attention_cap = number(source.config, "attn_logit_softcapping", 0);
  const double final_cap = number(source.config, "final_logit_softcapping", 0);
  if (source.kind == "gemma2" && attention_cap > 0) gguf.real("attn_logit_softcapping", attention_cap);
  if (final_cap > 0) gguf.real("final_logit_softcapping", final_cap);
  const double scalar = source.config.at("query_pre_attn_scalar");
  if (scalar != static_cast<double>(source.head_dim)) gguf.real("attention.scale", 1 / std::sqrt(scalar));
}

std::string gguf_name(const std::string& name, bool gemma) {
  static const std::vector<std::pair<std::string, std::string>> parts = {
      {"model.layers.", "blk."},
      {"gpt_neox.layers.", "blk."},
      {"model.embed_tokens", "token_embd"},
      {"gpt_neox.embed_in", "token_embd"},
      {"model.norm", "output_norm"},
      {"gpt_neox.final_layer_norm", "output_norm"},
      {"lm_head", "output"},
      {"embed_out", "output"},
      {"input_layernorm", "attn_norm"},
      {"pre_feedforward_layernorm", "ffn_norm"},
      {"post_feedforward_layernorm", "post_ffw_norm"},
      {"self_attn.qkv_proj", "attn_qkv"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"attention.query_key_value", "attn_qkv"},
      {"attention.dense", "attn_output"},
      {"mlp.gate_up_proj", "ffn_up"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"mlp.dense_h_to_4h", "ffn_up"},
      {"mlp.dense_4h_to_h", "ffn_down"}};
  std::string translated = name;
  const auto replace = [&](const std::string& from, const std::string& to) {
    const size_t found = translated.find(from);
    if (found != std::string::npos) translated.replace(found, from.size(), to);
  };
  for (const auto& [from, to] : parts) replace(from, to);
  replace("post_attention_layernorm", gemma ? "post_attention_norm" : "ffn_norm");
  return translated;
}

// Moves rows: row `from` of the old order goes to place_of(from).
template <typename PlaceOf>
void move_rows(NamedTensor& tensor, PlaceOf place_of) {
  const int64_t rows = tensor.shape[0], columns = static_cast<int64_t>(tensor.values.size()) / rows;
  const std::vector<float> old = tensor.values;
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(old.begin() + row * columns, columns, tensor.values.begin() + place_of(row) * columns);
  }
}

// Half-split rows of each head to pairs of neighbours.
void interleave(NamedTensor& tensor, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  move_rows(tensor, [=](int64_t row) {
    const int64_t in_head = row % head_dim;
    return row - in_head + 2 * (in_head % half) + in_head / half;
  });
}

// gpt_neox's (query, key, value) of each head to all queries, all keys, all values.
void split_fused(NamedTensor& tensor, int64_t heads, int64_t head_dim) {
  move_rows(tensor, [=](int64_t row) {
    const int64_t head = row / (3 * head_dim), part = row / head_dim % 3;
    return (part * heads + head) * head_dim + row % head_dim;
  });
}

void rearrange(NamedTensor& tensor, const Source& source) {
  const std::string stem = tensor.name.substr(0, tensor.name.rfind('.'));
  if (source.permuted() && (stem.ends_with("q_proj") || stem.ends_with("k_proj"))) {
    interleave(tensor, source.head_dim);
  }
  if (stem.ends_with("query_key_value")) split_fused(tensor, source.heads, source.head_dim);
  if (source.is_gemma() && stem.ends_with("norm")) {
    for (float& value : tensor.values) value += 1;
  }
}

NamedTensor llama3_divisors(const Source& source) {
  const Json& rope = source.rope;
  const double low = rope.at("low_freq_factor"), high = rope.at("high_freq_factor");
  const double theta = rope.at("rope_theta"), factor = rope.at("factor");
  NamedTensor tensor{"rope_freqs.weight", {source.head_dim / 2}, {}};
  for (int64_t i = 0; i < source.head_dim / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(source.head_dim);
    const double turns = rope.at("original_max_position_embeddings").get<double>() *
                         std::pow(theta, exponent) / (2 * std::numbers::pi);
    const double smooth = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    tensor.values.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
  }
  return tensor;
}

std::vector<NamedTensor> gguf_tensors(const GoldenModel& golden, const Source& source) {
  std::vector<NamedTensor> tensors = golden_tensors(golden);
  for (NamedTensor& tensor : tensors) {
    rearrange(tensor, source);
    tensor.name = gguf_name(tensor.name, source.is_gemma());
  }
  if (source.rope_type() == "llama3") tensors.push_back(llama3_divisors(source));
  if (source.rope_type() == "longrope") {
    for (const std::string length : {"long", "short"}) {
      auto factors = source.rope.at(length + "_factor").get<std::vector<float>>();
      const auto count = static_cast<int64_t>(factors.size());
      tensors.push_back({"rope_factors_" + length + ".weight", {count}, std::move(factors)});
    }
  }
  return tensors;
}

}  // namespace

std::filesystem::path write_golden_gguf(const GoldenModel& golden, const std::filesystem::path& file,
                                        TinyGgufType matrices) {
  if (!golden.gguf) throw std::invalid_argument(golden.name + " cannot be said in GGUF");
  const Source source(golden);
  GgufFileWriter gguf(gguf_architecture(source.kind));
  gguf.name(golden.name);
  add_sizes(gguf, source);
  add_rotary(gguf, source);
  add_window(gguf, source);
  if (source.is_gemma()) add_gemma(gguf, source);
  gguf.write(gguf_tensors(golden, source), matrices, file);
  return file;
}

}  // namespace kvlab::testing
