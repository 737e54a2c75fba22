// KVzap: a small learned model per layer reads a token's hidden state (after the layer's input norm) and
// predicts the log of how much attention-weighted output its entry will ever contribute; meant for a
// threshold. Paper: KVzap: Fast, Adaptive, and Faithful KV Cache Pruning, arXiv:2601.07891 (reference code in
// NVIDIA/kvpress). Scorers come in the Hugging Face layout: config.json (input_dim, output_dim, n_modules,
// hidden_dim or null) and safetensors with layers.N.{weight,bias} (linear) or layers.N.{0,2}.{weight,bias}
// (mlp with exact GELU between). Differs: 4 sinks are protected by default (kvzap_no_sink has the paper's
// none). Bytes per token: one score per layer and KV head; the scorer's weights are shared by all sessions.
#include <cmath>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "cache/scorer.h"
#include "format/json_reader.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"

namespace kvlab {

namespace {

struct Linear {
  int in = 0, out = 0;
  std::vector<float> weight, bias;  // [out][in], [out]

  void apply(const float* x, float* y) const {
    for (int o = 0; o < out; ++o) {
      const float* w = weight.data() + static_cast<size_t>(o) * in;
      float sum = 0;
      for (int i = 0; i < in; ++i) sum += w[i] * x[i];
      y[o] = sum + bias[o];
    }
  }
};

struct ScorerSizes {
  int layers = 0, input = 0, output = 0, hidden = 0;  // hidden 0: linear
};

ScorerSizes read_config(const std::string& folder) {
  constexpr int64_t kMost = 1 << 20;
  const std::string path = folder + "/config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw UserError("kvzap: cannot open " + path +
                    " (expected a folder with config.json and model.safetensors)");
  const MappedFile file(path);
  const nlohmann::json parsed = parse_json(file.text(), path);
  const JsonSettings json(parsed, path);
  ScorerSizes sizes;
  sizes.layers = static_cast<int>(json.needed_integer("n_modules", 1, kMost));
  sizes.input = static_cast<int>(json.needed_integer("input_dim", 1, kMost));
  sizes.output = static_cast<int>(json.needed_integer("output_dim", 1, kMost));
  sizes.hidden = static_cast<int>(json.integer("hidden_dim", 1, kMost).value_or(0));
  return sizes;
}

void check_sizes(const ScorerSizes& sizes, const ModelShape& shape, const std::string& folder) {
  if (sizes.layers == shape.layers && sizes.input == shape.hidden && sizes.output == shape.kv_heads) return;
  const auto text = [](int layers, int input, int output) {
    return std::to_string(layers) + " layers, hidden size " + std::to_string(input) + ", " +
           std::to_string(output) + " KV heads";
  };
  throw UserError("kvzap: scorer " + folder + " is for another model: it has " +
                  text(sizes.layers, sizes.input, sizes.output) + ", the model has " +
                  text(shape.layers, shape.hidden, shape.kv_heads));
}

Linear read_linear(const Weights& weights, const std::string& name, int in, int out) {
  return {in, out, weights.read(name + ".weight", {out, in}), weights.read(name + ".bias", {out})};
}

class Kvzap : public FixedScorer {
 public:
  explicit Kvzap(const ScorerContext& context) : shape_(context.shape) {
    const std::string& folder = context.model_path;
    if (folder.empty())
      throw UserError("kvzap needs a scorer: give model=FOLDER or --kvzap_scorer_model FOLDER");
    const ScorerSizes sizes = read_config(folder);
    check_sizes(sizes, shape_, folder);
    const auto weights = open_safetensors(folder);
    for (int layer = 0; layer < sizes.layers; ++layer) {
      const std::string name = "layers." + std::to_string(layer);
      if (sizes.hidden) {
        first_.push_back(read_linear(*weights, name + ".0", sizes.input, sizes.hidden));
        last_.push_back(read_linear(*weights, name + ".2", sizes.hidden, sizes.output));
      } else {
        last_.push_back(read_linear(*weights, name, sizes.input, sizes.output));
      }
    }
  }

  bool wants_hidden() const override { return true; }

  void score(const NewEntries& entries, float* out) const override {
    const Linear& last = last_[entries.layer];
#pragma omp parallel
    {
      std::vector<float> middle(first_.empty() ? 0 : first_[entries.layer].out);
      std::vector<float> scores(shape_.kv_heads);
#pragma omp for
      for (int r = 0; r < entries.rows; ++r) {
        const float* x = entries.hidden + static_cast<int64_t>(r) * shape_.hidden;
        if (!first_.empty()) {
          first_[entries.layer].apply(x, middle.data());
          for (float& m : middle) m = 0.5f * m * (1.0f + std::erf(m * 0.70710678f));
          x = middle.data();
        }
        last.apply(x, scores.data());
        for (int head = 0; head < shape_.kv_heads; ++head)
          out[static_cast<int64_t>(head) * entries.rows + r] = scores[head];
      }
    }
  }

 private:
  ModelShape shape_;
  std::vector<Linear> first_, last_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "kvzap";
  info.title = "KVzap";
  info.paper = "KVzap: Fast, Adaptive, and Faithful KV Cache Pruning, arXiv:2601.07891";
  info.summary = "a learned scorer on hidden states, made for a threshold";
  info.formula = "score_j = f_layer(h_j)[head], a predicted log importance; f linear or a two-layer MLP";
  info.sinks = 4;
  info.learned = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<Kvzap>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_kvzap;
const ScorerInfo kScorerInfo_kvzap = describe();

}  // namespace kvlab
