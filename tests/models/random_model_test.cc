// Models with random weights: every architecture loads and runs, shapes are those of the published models.
#include "models/random_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "cache/recipe.h"
#include "engine/session.h"
#include "models/architecture.h"
#include "models/layer_products.h"
#include "models/model_check.h"
#include "models/model_shapes.h"
#include "models/readers.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Settings that every architecture can read, of two small layers.
ModelConfig small_config(const std::string& architecture) {
  ModelConfig config = config_of_json(
      R"({"model_type": ")" + architecture +
          R"(", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
              "num_key_value_heads": )" +
          (architecture == "gpt_neox" ? "4" : "2") +
          R"(, "head_dim": 16, "vocab_size": 96, "max_position_embeddings": 512, "layer_norm_eps": 1e-5})",
      "test");
  config.name = "small";
  return config;
}

std::vector<float> hidden_of(const ModelFiles& files, const std::vector<int32_t>& tokens) {
  const auto model = load_model(files, {DType::kF32});
  Session session(model, make_method(no_compression(), shape_of(files.config)), {});
  const HiddenStates states = session.extend(tokens);
  return {states.row(0), states.row(0) + states.rows * states.size};
}

// A layer's number of weights in products, from the sizes that papers and model cards give.
int64_t product_weights(const ModelConfig& config) {
  int64_t weights = 0;
  for (const ProductSize& product : layer_products(config)) weights += int64_t{product.out} * product.in;
  return weights;
}

TEST(RandomModel, EveryArchitectureHasItsTensorsAndRuns) {
  for (const ArchitectureInfo* architecture : registry_architectures()) {
    SCOPED_TRACE(architecture->name);
    const ModelConfig config = small_config(architecture->name);
    const ModelFiles files = random_model(config, 1);
    EXPECT_TRUE(check_tensors(*architecture, config, *files.weights).empty());
    const std::vector<float> hidden = hidden_of(files, {1, 2, 3, 4, 5});
    ASSERT_EQ(hidden.size(), 5u * 64);
    for (const float x : hidden) ASSERT_TRUE(std::isfinite(x));
    // Different tokens give different rows: norms are not zero and weights not equal.
    EXPECT_NE(std::vector<float>(hidden.begin(), hidden.begin() + 64),
              std::vector<float>(hidden.begin() + 64, hidden.begin() + 128));
  }
}

TEST(RandomModel, RowsFollowFromSeedTensorAndPlaceAlone) {
  const ModelConfig config = small_config("llama");
  const ModelFiles one = random_model(config, 1), again = random_model(config, 1),
                   other = random_model(config, 2);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const auto rows = [](const ModelFiles& files, const std::string& tensor, int64_t first, int64_t count) {
    std::vector<float> values(static_cast<size_t>(count) * 64);
    files.weights->read_rows(tensor, first, count, values.data());
    return values;
  };
  const std::vector<float> all = rows(one, name, 0, 96);
  EXPECT_EQ(rows(again, name, 0, 96), all);
  EXPECT_EQ(rows(one, name, 7, 3), std::vector<float>(all.begin() + 7 * 64, all.begin() + 10 * 64));
  EXPECT_NE(rows(other, name, 0, 96), all);
  EXPECT_NE(rows(one, "model.layers.1.mlp.up_proj.weight", 0, 96), all);
  const float largest = std::abs(
      *std::max_element(all.begin(), all.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  EXPECT_LE(largest, 0.125f);  // 1 / sqrt(64)
  EXPECT_GT(largest, 0.12f);
  EXPECT_NEAR(std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size()), 0, 0.005);
}

TEST(RandomModel, NormsMultiplyByOne) {
  const ModelFiles llama = random_model(small_config("llama"), 1);
  EXPECT_EQ(llama.weights->read("model.norm.weight", {64}), std::vector<float>(64, 1.0f));
  const ModelFiles gemma = random_model(small_config("gemma3_text"), 1);  // 1 + weight
  EXPECT_EQ(gemma.weights->read("model.norm.weight", {64}), std::vector<float>(64, 0.0f));
  const ModelFiles neox = random_model(small_config("gpt_neox"), 1);
  const std::vector<float> bias = neox.weights->read("gpt_neox.final_layer_norm.bias", {64});
  EXPECT_THAT(bias, ::testing::Each(::testing::Truly([](float x) { return std::abs(x) <= 0.01f; })));
}

TEST(RandomModel, RowsThatAreNotThere) {
  const ModelFiles files = random_model(small_config("llama"), 1);
  std::vector<float> out(64);
  EXPECT_THROW(files.weights->read_rows("model.norm.bias", 0, 1, out.data()), UserError);
  EXPECT_THROW(files.weights->read_rows("model.embed_tokens.weight", 96, 1, out.data()), UserError);
  EXPECT_THROW(files.weights->read_rows("model.embed_tokens.weight", -1, 1, out.data()), UserError);
}

TEST(ModelShapes, HaveTheSizesOfThePublishedModels) {
  const auto check = [](const char* name, int layers, int64_t weights_of_a_layer, int64_t all_parameters) {
    SCOPED_TRACE(name);
    const ModelConfig config = model_shape(name);
    EXPECT_EQ(config.name, name);
    EXPECT_EQ(config.layers, layers);
    EXPECT_EQ(product_weights(config), weights_of_a_layer);
    const DecoderTensors tensors = find_architecture(config.architecture, name).tensors(config);
    int64_t parameters = 0;
    for (const TensorShape& tensor : tensor_shapes(tensors, config)) {
      parameters +=
          std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
    }
    EXPECT_EQ(parameters, all_parameters);
  };
  check("llama-3.1-8b", 32, 218103808, 8030261248);
  check("llama-3.2-1b", 16, 60817408, 1235814400);
  check("mistral-7b", 32, 218103808, 7248023552);
  check("pythia-6.9b", 32, 201326592, 6857302016);
  check("pythia-70m", 6, 3145728, 70426624);
  check("qwen2.5-7b", 28, 233046016, 7615616512);
  check("qwen3-8b", 36, 192937984, 8190735360);
  check("smollm2-135m", 30, 3538944, 134515008);
}

TEST(ModelShapes, KeepWhatTheirConfigsSay) {
  EXPECT_EQ(model_shape("llama-3.1-8b").rotary.kind, RotarySettings::Kind::kLlama3);
  EXPECT_TRUE(model_shape("qwen2.5-7b").qkv_bias);
  EXPECT_TRUE(model_shape("mistral-7b").windows.empty());
  EXPECT_EQ(model_shape("pythia-6.9b").rotary.dims, 32);
  EXPECT_TRUE(model_shape("pythia-6.9b").parallel_residual);
  EXPECT_THAT(layer_products(model_shape("pythia-70m"))[2].name, "up");
}

TEST(ModelShapes, UnknownNamesListTheKnownOnes) {
  try {
    model_shape("llama-4");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("--shape llama-4"), HasSubstr("llama-3.1-8b"),
                                               HasSubstr("smollm2-135m")));
  }
}

TEST(ModelShapes, FirstLayersKeepTheirWindows) {
  ModelConfig config = small_config("gemma3_text");
  config.windows = {4, 0};
  EXPECT_THAT(first_layers(config, 1).windows, ElementsAre(4));
  EXPECT_EQ(first_layers(config, 2).layers, 2);
  EXPECT_THROW(first_layers(config, 3), UserError);
  EXPECT_THROW(first_layers(config, 0), UserError);
}

TEST(LayerProducts, AreThoseOfTheArchitecture) {
  const auto sizes_of = [](const ModelConfig& config) {
    std::vector<std::pair<int, int>> sizes;
    for (const ProductSize& product : layer_products(config)) sizes.emplace_back(product.out, product.in);
    return sizes;
  };
  const ModelConfig llama = small_config("llama"), neox = small_config("gpt_neox");
  EXPECT_THAT(sizes_of(llama),
              ElementsAre(std::pair(128, 64), std::pair(64, 64), std::pair(192, 64), std::pair(64, 96)));
  EXPECT_THAT(sizes_of(neox),
              ElementsAre(std::pair(192, 64), std::pair(64, 64), std::pair(96, 64), std::pair(64, 96)));
  EXPECT_EQ(layer_flops(llama), 2 * 2.0 * (128 * 64 + 64 * 64 + 192 * 64 + 64 * 96));
  EXPECT_EQ(head_flops(llama), 2.0 * 96 * 64);
}

}  // namespace
}  // namespace kvlab
