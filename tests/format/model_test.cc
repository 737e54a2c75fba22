// Models through open_model: both formats give the same, and settings of real and odd folders.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/config.h"
#include "support/damage.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using testing::read_all;
using testing::read_bytes;
using ::testing::StartsWith;
using testing::TempFolder;
using testing::TinyGgufType;
using testing::TinyModelOptions;
using testing::write_bytes;
using testing::write_tiny_gguf;
using testing::write_tiny_hf;

std::vector<float> tensor(const Weights& weights, const std::string& name) {
  return weights.read(name, weights.shape(name));
}

void expect_same_model(const TinyModelOptions& options, TinyGgufType type, double tolerance) {
  TempFolder folder;
  const ModelFiles hf = open_model(write_tiny_hf(options, folder.path() / "hf").string());
  const ModelFiles gguf = open_model(write_tiny_gguf(options, folder.path() / "m.gguf", type).string());
  std::vector<std::string> names = gguf.weights->names();
  std::sort(names.begin(), names.end());
  ASSERT_EQ(names, hf.weights->names());
  EXPECT_EQ(hf.config.tied_embeddings, gguf.config.tied_embeddings);
  EXPECT_EQ(hf.config.vocab, gguf.config.vocab);
  EXPECT_EQ(hf.config.context, gguf.config.context);
  EXPECT_EQ(hf.config.rotary.dims, gguf.config.rotary.dims);
  for (const std::string& name : names) {
    ASSERT_EQ(hf.weights->shape(name), gguf.weights->shape(name)) << name;
    const std::vector<float> a = tensor(*hf.weights, name), b = tensor(*gguf.weights, name);
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << name << " " << i;
  }
}

TEST(Model, BothFormatsGiveTheSameTensors) {
  expect_same_model({}, TinyGgufType::kF32, 0);
  TinyModelOptions options;
  options.tied = false;
  options.layers = 3;
  options.head_dim = 8;  // heads narrower than hidden / heads
  expect_same_model(options, TinyGgufType::kF32, 0);
  expect_same_model(options, TinyGgufType::kQ8_0, 5e-3);
  options.llama3_rotary = true;
  expect_same_model(options, TinyGgufType::kBF16, 4e-3);
}

TEST(Model, OnlyGgufFilesHandOutBlocks) {
  TempFolder folder;
  const ModelFiles hf = open_model(write_tiny_hf({}, folder.path() / "hf").string());
  std::vector<std::byte> row(64 * sizeof(float));
  EXPECT_FALSE(hf.weights->read_blocks("model.embed_tokens.weight", 0, 1, row));
  const ModelFiles gguf = open_model(write_tiny_gguf({}, folder.path() / "m.gguf").string());
  EXPECT_TRUE(gguf.weights->read_blocks("model.embed_tokens.weight", 0, 1, row));
}

TEST(Model, WhatCannotBeAModelIsRefused) {
  TempFolder folder;
  const std::string path = (folder.path() / "model").string();
  EXPECT_THAT(error_text([&] { open_model(path); }), StartsWith("no such model: " + path));
  write_bytes(path, "text");
  EXPECT_THAT(error_text([&] { open_model(path); }), StartsWith(path + " is not a model (expected a .gguf"));
  EXPECT_THAT(error_text([&] { open_model(folder.path().string()); }), HasSubstr("has no config.json"));
  const auto gguf = write_tiny_gguf({}, folder.path() / "m.gguf");
  fs::rename(gguf, path);  // told by its first bytes
  EXPECT_EQ(open_model(path).config.architecture, "llama");
}

// A tiny model whose config.json is changed by each test.
class HfConfig : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tiny_hf({}, folder_.path());
    json_ = nlohmann::json::parse(read_bytes(config_path()));
  }
  std::string config_path() const { return (folder_.path() / "config.json").string(); }
  ModelConfig open() {
    write_bytes(config_path(), json_.dump());
    return open_model(folder_.path().string()).config;
  }
  // What opening says, which must begin with the file or name it.
  std::string refused() {
    const std::string text = error_text([&] { open(); });
    EXPECT_THAT(text, HasSubstr(folder_.path().string()));
    return text;
  }
  TempFolder folder_;
  nlohmann::json json_;
};

TEST_F(HfConfig, HasTheSettingsAndDefaults) {
  json_.erase("tie_word_embeddings");
  json_.erase("hidden_act");
  json_["num_key_value_heads"] = 2;
  const ModelConfig config = open();
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.name, folder_.path().filename().string());
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_TRUE(config.tied_embeddings) << "there is no lm_head";
  EXPECT_DOUBLE_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.weight_types, "f32 (20 tensors)");
  json_.erase("head_dim");
  EXPECT_EQ(open().head_dim, 16) << "hidden / heads";
}

TEST_F(HfConfig, ReadsBothSpellingsOfRotary) {
  for (const bool old : {false, true}) {
    TinyModelOptions options;
    options.old_rotary_spelling = old;
    options.llama3_rotary = true;
    options.theta = 500000;
    TempFolder folder;
    const RotarySettings rotary = open_model(write_tiny_hf(options, folder.path()).string()).config.rotary;
    EXPECT_EQ(rotary.kind, RotarySettings::Kind::kLlama3);
    EXPECT_EQ(rotary.theta, 500000);
    EXPECT_EQ(rotary.factor, 8);
    EXPECT_EQ(rotary.low_freq_factor, 1);
    EXPECT_EQ(rotary.high_freq_factor, 4);
    EXPECT_EQ(rotary.original_context, 64);
    EXPECT_EQ(rotary.dims, 16);
  }
  json_.erase("rope_parameters");
  EXPECT_EQ(open().rotary.theta, 10000);
  json_["rope_scaling"] = nullptr;
  json_["rotary_pct"] = 0.25;
  EXPECT_EQ(open().rotary.dims, 4);
  json_["rope_parameters"] = {{"partial_rotary_factor", 0.5}, {"rope_theta", 7.0}, {"rope_type", "default"}};
  EXPECT_EQ(open().rotary.dims, 8) << "the new spelling goes first";
  EXPECT_EQ(open().rotary.theta, 7);
}

TEST_F(HfConfig, RefusesOtherRotaryScaling) {
  json_.erase("rope_parameters");
  json_["rope_scaling"] = {{"type", "spiral"}, {"factor", 4.0}};
  EXPECT_EQ(refused(), config_path() +
                           ": rotary scaling 'spiral' is not supported (supported: default, linear, "
                           "dynamic, llama3, yarn)");
  json_["rope_scaling"] = {{"type", "longrope"}, {"factor", 4.0}};
  EXPECT_THAT(refused(), HasSubstr("rotary scaling 'longrope' is not supported (it turns all keys anew"));
  json_["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}};
  EXPECT_THAT(refused(), HasSubstr("config.json: 'rope_scaling.low_freq_factor' is missing"));
  json_["rope_scaling"] = 5;
  EXPECT_THAT(refused(), HasSubstr("'rope_scaling' is 5 (expected an object)"));
}

TEST_F(HfConfig, RefusesBadValuesByName) {
  const std::tuple<const char*, nlohmann::json, const char*> cases[] = {
      {"attention_bias", true,
       "8 of 28 tensors of architecture llama are missing: model.layers.0.self_attn.q_proj.bias [64]"},
      {"mlp_bias", true, "are missing: model.layers.0.mlp.gate_proj.bias [96]"},
      {"hidden_act", "sine", "'hidden_act' is \"sine\" (expected silu, relu, gelu"},
      {"quantization_config",
       {{"quant_method", "gptq"}},
       "'quantization_config' is an object (expected none"},
      {"model_type", "mamba",
       "architecture 'mamba' is not supported: it has no attention (known: gemma3_text, gpt_neox, llama"},
      {"hidden_size", 0, "'hidden_size' is 0 (expected an integer 1.."},
      {"hidden_size", 64.5, "'hidden_size' is 64.5"},
      {"hidden_size", "64", "'hidden_size' is \"64\""},
      {"hidden_size", UINT64_MAX, "'hidden_size' is 18446744073709551615"},
      {"hidden_size", nullptr, "'hidden_size' is missing"},
      {"hidden_size", 32,
       "tensor 'model.embed_tokens.weight' has shape [96, 64], the settings ask for [96, 32]"},
      {"num_hidden_layers", 3,
       "9 of 29 tensors of architecture llama are missing: model.layers.2.input_layernorm.weight [64]"},
      {"num_key_value_heads", 3, "4 query heads are not a multiple of 3 key-value heads"},
      {"head_dim", 15, "heads of 15 dimensions (expected an even number"},
      {"rms_norm_eps", -1, "'rms_norm_eps' is -1 (expected a positive number)"},
      {"model_type", nullptr, "'model_type' is missing"},
      {"tie_word_embeddings", 1, "'tie_word_embeddings' is 1 (expected true or false)"}};
  const nlohmann::json good = json_;
  for (const auto& [key, value, expected] : cases) {
    json_ = good;
    json_[key] = value;
    EXPECT_THAT(refused(), HasSubstr(expected)) << key;
  }
}

TEST_F(HfConfig, ReadsSlidingWindowsAsTransformersDoes) {
  json_["model_type"] = "mistral";
  json_["sliding_window"] = 16;
  EXPECT_EQ(open().windows, (std::vector<int64_t>{16, 16}));
  json_["sliding_window"] = nullptr;
  EXPECT_EQ(open().windows, std::vector<int64_t>());
  json_.erase("sliding_window");
  EXPECT_EQ(open().windows, (std::vector<int64_t>{4096, 4096})) << "the default of the class";
  json_["sliding_window"] = 16;
  json_["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_EQ(open().windows, (std::vector<int64_t>{0, 16}));
  json_["layer_types"] = {"full_attention"};
  EXPECT_THAT(refused(),
              HasSubstr("'layer_types' is an array (expected an array of 2 texts, one for each layer)"));
  json_["layer_types"] = {"full_attention", "linear_attention"};
  EXPECT_THAT(refused(), HasSubstr("layer_types holds 'linear_attention', which is not supported"));
  json_.erase("layer_types");
  json_["sliding_window"] = 0;
  EXPECT_THAT(refused(), HasSubstr("'sliding_window' is 0"));
}

TEST_F(HfConfig, DamageIsRefusedOrRead) {
  const std::string bytes = read_bytes(config_path());
  const auto use = [&] { read_all(folder_.path().string()); };
  // An error may name the weights' file instead, where settings changed; both lie in the folder.
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const std::string folder_name = folder_.path().filename().string();
    const auto counts = testing::flip_bytes(bytes, config_path(), bytes.size(), 100, seed, use, folder_name);
    EXPECT_GE(counts.refused, 50);
  }
  // Only the newline at the end may be lost.
  testing::truncate_everywhere(bytes.substr(0, bytes.size() - 1), config_path(), 200, use);
}

TEST_F(HfConfig, DamagedWeightsAreNamed) {
  const std::string path = (folder_.path() / "model.safetensors").string();
  const auto counts =
      testing::flip_bytes(read_bytes(path), path, 1500, 300, 7, [&] { read_all(folder_.path().string()); });
  EXPECT_GE(counts.refused, 200);
}

TEST(DefaultModel, HasItsSettings) {
  const std::string path = KVLAB_SOURCE_DIR "/.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << "no default model (scripts/setup.sh fetches it)";
  const ModelFiles model = open_model(path);
  EXPECT_EQ(model.config.architecture, "llama");
  EXPECT_EQ(model.config.layers, 30);
  EXPECT_EQ(model.config.hidden, 576);
  EXPECT_EQ(model.config.query_heads, 9);
  EXPECT_EQ(model.config.kv_heads, 3);
  EXPECT_EQ(model.config.head_dim, 64);
  EXPECT_EQ(model.config.intermediate, 1536);
  EXPECT_EQ(model.config.vocab, 49152);
  EXPECT_TRUE(model.config.tied_embeddings);
  std::vector<float> values = model.weights->read("model.layers.29.self_attn.q_proj.weight", {576, 576});
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  const double deviation = std::sqrt(squares / static_cast<double>(values.size()));
  EXPECT_GT(deviation, 0.01);
  EXPECT_LT(deviation, 1);
}

TEST(SharedModels, TinyLlamasOpen) {
  const char* set = std::getenv("KVLAB_SHARED");
  const fs::path folder = set ? fs::path(set) / "models" : fs::path(KVLAB_SOURCE_DIR "/../shared/models");
  if (!fs::exists(folder)) GTEST_SKIP() << "no " << folder << " (set KVLAB_SHARED)";
  const ModelConfig scaled = open_model((folder / "tiny-llama-3.1").string()).config;
  EXPECT_EQ(scaled.rotary.kind, RotarySettings::Kind::kLlama3);
  EXPECT_EQ(scaled.rotary.theta, 500000);
  EXPECT_EQ(scaled.rotary.original_context, 64);
  EXPECT_EQ(scaled.kv_heads, 2);
  EXPECT_FALSE(scaled.tied_embeddings);
  const ModelConfig full = open_model((folder / "tiny-llama-mha").string()).config;
  EXPECT_EQ(full.kv_heads, 4);
  EXPECT_DOUBLE_EQ(full.norm_eps, 1e-6);
  for (const char* name : {"tiny-llama-3.1", "tiny-llama-mha", "stories260K"})
    read_all((folder / name).string());
}

}  // namespace
}  // namespace kvlab
