// What is said and refused while a model is opened and loaded.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "models/memory_warning.h"
#include "models/model.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OpenedModel : public ::testing::Test {
 protected:
  // The tiny llama with these tensors besides its own.
  std::string with(const std::vector<NamedTensor>& more) {
    testing::write_tiny_hf({}, folder_.path());
    std::vector<NamedTensor> tensors = testing::tiny_tensors({});
    tensors.insert(tensors.end(), more.begin(), more.end());
    write_safetensors((folder_.path() / "model.safetensors").string(), tensors);
    return folder_.path().string();
  }
  static std::string refused(const std::string& path) {
    try {
      open_model(path);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }
  testing::TempFolder folder_;
};

TEST_F(OpenedModel, NamesTensorsThatItDoesNotUse) {
  EXPECT_THAT(open_model(with({})).notes, IsEmpty());
  const auto files = open_model(with({{"vision.weight", {1, 2}, {0, 0}}, {"model.extra", {1}, {0}}}));
  EXPECT_THAT(files.notes, ElementsAre("2 tensors are not used: model.extra [1]; vision.weight [1, 2]"));
}

TEST_F(OpenedModel, KnowsBuffersOfOldCheckpoints) {
  EXPECT_THAT(open_model(with({{"model.layers.0.self_attn.rotary_emb.inv_freq", {1}, {0}}})).notes,
              IsEmpty());
}

TEST_F(OpenedModel, RefusesALayersTensorThatHasNoPlace) {
  EXPECT_THAT(refused(with({{"model.layers.1.self_attn.q_norm.weight", {16}, std::vector<float>(16, 1)}})),
              HasSubstr("model.safetensors: 1 tensors have no place in a layer of architecture llama, so the "
                        "model computes something else than kvlab would: "
                        "model.layers.1.self_attn.q_norm.weight [16]"));
}

TEST_F(OpenedModel, WeightBytesAreWhatIsPacked) {
  const ModelFiles files = open_model(with({}));
  // Embedding and head are one and packed; norms are not. Layouts pad columns and inputs.
  const int64_t matrices = 96 * 64 + 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 96 * 64);
  EXPECT_EQ(weight_bytes(files, DType::kF32), 4 * matrices);
  const int64_t before = allocated_bytes(Account::kWeights);
  const auto model = load_model(files, {DType::kF32});
  const int64_t packed = allocated_bytes(Account::kWeights) - before;
  EXPECT_GE(packed, 4 * matrices);
  EXPECT_LE(packed, 4 * matrices * 5 / 4);
}

TEST(MemoryWarning, SaysBothFigures) {
  EXPECT_EQ(memory_warning(int64_t{3} << 30, int64_t{4} << 30, DType::kF32), std::nullopt);
  EXPECT_EQ(memory_warning(int64_t{3} << 30, 0, DType::kF32), std::nullopt) << "nobody knows";
  EXPECT_EQ(memory_warning(int64_t{30} << 30, int64_t{16} << 30, DType::kF32),
            "the weights take 30.0 GiB as f32, and 16.0 GiB of memory are free: --dtype bf16 takes half");
  EXPECT_EQ(memory_warning(int64_t{30} << 30, int64_t{16} << 30, DType::kBF16),
            "the weights take 30.0 GiB as bf16, and 16.0 GiB of memory are free: a smaller model is needed");
}

// A weight read in pieces is the weight packed at once, to the last bit, also where the last piece is short
// and sizes are no multiple of a block.
TEST(PackedMatrix, FromPiecesIsFromTheWhole) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    if (type == DType::kBF16 && !cpu_has_bf16_dot()) continue;
    for (const auto& [out, in] : {std::pair{96, 40}, {256, 64}, {257, 33}, {700, 100}, {1024, 576}}) {
      SCOPED_TRACE(fmt::format("{} x {}, {}", out, in, type == DType::kF32 ? "f32" : "bf16"));
      std::vector<float> weight(static_cast<size_t>(out) * in), x(static_cast<size_t>(3) * in);
      for (size_t i = 0; i < weight.size(); ++i) weight[i] = std::sin(static_cast<float>(i));
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i));
      const PackedMatrix whole(weight.data(), out, in, type);
      const PackedMatrix pieces(
          [&, columns = in](int first, int rows, float* to) {
            std::copy_n(weight.begin() + int64_t{first} * columns, int64_t{rows} * columns, to);
          },
          out, in, type);
      GemmScratch scratch;
      std::vector<float> a(static_cast<size_t>(3) * out), b = a;
      linear(whole, x.data(), in, 3, a.data(), out, scratch);
      linear(pieces, x.data(), in, 3, b.data(), out, scratch);
      EXPECT_EQ(a, b);
      EXPECT_EQ(whole.bytes(), PackedMatrix::packed_bytes(out, in, type));
    }
  }
}

}  // namespace
}  // namespace kvlab
