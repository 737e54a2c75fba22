// W_O as plain floats is the file's tensor, whatever the layout it was packed in.
#include <gtest/gtest.h>

#include "kernels/gemm.h"
#include "models/model.h"
#include "support/tiny_architectures.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using testing::TempFolder;

// [in][out] of a tensor that the file has as [out][in].
std::vector<float> transposed(const Weights& weights, const std::string& name, int out, int in) {
  const std::vector<float> tensor = weights.read(name, {out, in});
  std::vector<float> result(tensor.size());
  for (int o = 0; o < out; ++o) {
    for (int i = 0; i < in; ++i)
      result[static_cast<size_t>(i) * out + o] = tensor[static_cast<size_t>(o) * in + i];
  }
  return result;
}

TEST(OutputProjection, IsTheTensorOfTheFile) {
  const TempFolder folder;
  testing::TinyModelOptions options;
  options.query_heads = 5;  // 80 inputs: more than a block of rows, and no multiple of it
  options.kv_heads = 1;
  const ModelFiles files = open_model(testing::write_tiny_hf(options, folder.path()).string());
  const auto model = load_model(files, {DType::kF32});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".self_attn.o_proj.weight";
    EXPECT_EQ(model->output_projection(layer), transposed(*files.weights, name, 64, 80)) << layer;
  }
}

TEST(OutputProjection, LeavesTheBiasOut) {
  const ModelFiles files = testing::tiny_files("gpt_neox");
  ASSERT_TRUE(files.config.output_bias);
  const int in = files.config.query_heads * files.config.head_dim;
  EXPECT_EQ(load_model(files, {DType::kF32})->output_projection(0),
            transposed(*files.weights, "gpt_neox.layers.0.attention.dense.weight", files.config.hidden, in));
}

TEST(OutputProjection, IsRoundedAsTheModelsWeightsAre) {
  if (!cpu_has_bf16_dot()) GTEST_SKIP() << "this processor has no bf16 dot products";
  const TempFolder folder;
  const ModelFiles files = open_model(testing::write_tiny_hf({}, folder.path()).string());
  const auto model = load_model(files, {DType::kBF16});
  const auto exact = transposed(*files.weights, "model.layers.1.self_attn.o_proj.weight", 64, 64);
  const auto given = model->output_projection(1);
  ASSERT_EQ(given.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(given[i], to_float(to_bf16(exact[i]))) << i;
}

}  // namespace
}  // namespace kvlab
