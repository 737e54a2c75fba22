#include "golden/press_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "support/golden_model.h"

namespace kvlab::testing {

namespace {

constexpr double kDeviation = 0.2;
constexpr int kFactorColumns = 4;

struct Inputs {
  const TempFolder& folder;
  const ModelShape& shape;
  uint64_t seed;

  NamedTensor tensor(const std::string& name, std::vector<int64_t> sizes, double mean = 0) const {
    return make_golden_tensor(seed, {name, std::move(sizes), mean, kDeviation});
  }
  std::string path(const std::string& name) const { return (folder.path() / name).string(); }
};

// A folder as Hugging Face lays it out.
std::string write_scorer(const Inputs& in, const std::string& name, const nlohmann::json& config,
                         const std::vector<NamedTensor>& tensors) {
  std::filesystem::create_directories(in.path(name));
  in.folder.write(name + "/config.json", config.dump());
  write_safetensors(in.path(name) + "/model.safetensors", tensors);
  return in.path(name);
}

std::string q_filters(const Inputs& in) {
  const nlohmann::json config = {{"num_layers", in.shape.layers},
                                 {"num_kv_heads", in.shape.kv_heads},
                                 {"kv_head_dim", in.shape.head_dim}};
  return write_scorer(in, "q_filters", config,
                      {in.tensor("q_filters", {in.shape.layers, in.shape.kv_heads, in.shape.head_dim})});
}

std::string kvzap(const Inputs& in) {
  std::vector<NamedTensor> tensors;
  for (int layer = 0; layer < in.shape.layers; ++layer) {
    tensors.push_back(
        in.tensor(fmt::format("layers.{}.weight", layer), {in.shape.kv_heads, in.shape.hidden}));
    tensors.push_back(in.tensor(fmt::format("layers.{}.bias", layer), {in.shape.kv_heads}));
  }
  const nlohmann::json config = {{"input_dim", in.shape.hidden},
                                 {"output_dim", in.shape.kv_heads},
                                 {"n_modules", in.shape.layers},
                                 {"hidden_dim", nullptr}};
  return write_scorer(in, "kvzap", config, tensors);
}

std::string head_scores(const Inputs& in) {
  const NamedTensor scores = in.tensor("head_scores", {in.shape.layers, in.shape.kv_heads}, 0.5);
  std::string text;
  for (size_t i = 0; i < scores.values.size(); ++i) {
    const bool last = (i + 1) % static_cast<size_t>(in.shape.kv_heads) == 0;
    text += fmt::format("{:.9g}{}", std::clamp(scores.values[i], 0.0f, 1.0f), last ? "\n" : "\t");
  }
  return in.folder.write("head_scores.tsv", text).string();
}

std::string ratios(const Inputs& in) {
  constexpr double kKeep[] = {0.25, 0.5, 0.75};
  nlohmann::json table = {{"keep", nlohmann::json::array()}};
  for (int layer = 0; layer < in.shape.layers; ++layer) table["keep"].push_back(kKeep[layer % 3]);
  return in.folder.write("ratios.json", table.dump()).string();
}

// Covariances of low rank: a factor times its transpose.
NamedTensor covariances(const Inputs& in) {
  const int64_t d = in.shape.head_dim, matrices = int64_t{in.shape.layers} * in.shape.query_heads;
  const NamedTensor factor =
      in.tensor("query_factor", {in.shape.layers, in.shape.query_heads, d, kFactorColumns});
  NamedTensor made{"query_cov", {in.shape.layers, in.shape.query_heads, d, d}, {}};
  made.values.resize(static_cast<size_t>(matrices * d * d));
  float* out = made.values.data();
  for (int64_t m = 0; m < matrices; ++m) {
    const float* rows = factor.values.data() + m * d * kFactorColumns;
    for (int64_t a = 0; a < d; ++a) {
      for (int64_t b = 0; b < d; ++b, ++out) {
        for (int c = 0; c < kFactorColumns; ++c)
          *out += rows[a * kFactorColumns + c] * rows[b * kFactorColumns + c];
      }
    }
  }
  return made;
}

std::string query_statistics(const Inputs& in) {
  const std::string path = in.path("query_statistics.safetensors");
  write_safetensors(
      path,
      {in.tensor("query_mean", {in.shape.layers, in.shape.query_heads, in.shape.head_dim}), covariances(in)});
  return path;
}

}  // namespace

std::string with_inputs(const std::string& recipe, const TempFolder& folder, const ModelShape& shape,
                        uint64_t seed) {
  static const std::map<std::string, std::function<std::string(const Inputs&)>> kWriters = {
      {"@q_filters", q_filters},
      {"@kvzap", kvzap},
      {"@head_scores", head_scores},
      {"@ratios", ratios},
      {"@query_statistics", query_statistics}};
  std::string text = recipe;
  for (const auto& [name, write] : kWriters) {
    if (const size_t at = text.find(name); at != std::string::npos)
      text.replace(at, name.size(), write({folder, shape, seed}));
  }
  return text;
}

}  // namespace kvlab::testing
