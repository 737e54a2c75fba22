#include "format/gguf.h"
#include "models/readers.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "support/damage.h"
#include "support/tiny_model.h"
#include "tensor/dtype.h"

namespace kvlab {
namespace {

using testing::error_text;
using ::testing::HasSubstr;
using testing::read_all;
using testing::TempFolder;
using testing::TinyGgufType;
using testing::TinyModelOptions;
using testing::write_tiny_gguf;

// Small, so that its file is mostly header.
TinyModelOptions smallest() {
  TinyModelOptions options;
  options.layers = 1;
  options.hidden = 32;
  options.head_dim = 8;
  options.intermediate = 32;
  options.vocab = 8;
  options.llama3_rotary = true;
  return options;
}

TEST(Gguf, ReadsMetadataByType) {
  TempFolder folder;
  const auto path = write_tiny_gguf({}, folder.path() / "tiny.gguf").string();
  const auto file = GgufFile::open(path);
  EXPECT_EQ(file->path(), path);
  EXPECT_EQ(file->text("general.architecture"), "llama");
  EXPECT_EQ(file->integer("llama.block_count"), 2);
  EXPECT_EQ(file->real("llama.block_count"), 2.0);
  EXPECT_NEAR(file->real("llama.attention.layer_norm_rms_epsilon").value(), 1e-5, 1e-10);
  EXPECT_EQ(file->text("no.such.key"), std::nullopt);
  EXPECT_EQ(file->integers("no.such.key"), std::nullopt);
  const std::string text = error_text([&] { file->text("llama.block_count"); });
  EXPECT_EQ(text, path + ": key 'llama.block_count' is u32, expected a string");
  EXPECT_THROW(file->integer("general.architecture"), UserError);
  EXPECT_THROW(file->integer("llama.rope.freq_base"), UserError);
  EXPECT_THROW(file->flag("llama.block_count"), UserError);
  EXPECT_THROW(file->texts("general.architecture"), UserError);
  EXPECT_THROW(file->integers("general.architecture"), UserError);
}

TEST(Gguf, ReadsRowsOfEveryWrittenType) {
  const TinyModelOptions options;
  const NamedTensor expected = testing::tiny_tensors(options)[0];  // the embedding
  const std::pair<TinyGgufType, double> types[] = {{TinyGgufType::kF32, 0},
                                                   {TinyGgufType::kF16, 1e-3},
                                                   {TinyGgufType::kBF16, 4e-3},
                                                   {TinyGgufType::kQ8_0, 5e-3},
                                                   {TinyGgufType::kQ4_1, 6e-2}};
  TempFolder folder;
  for (const auto& [type, tolerance] : types) {
    const auto file = GgufFile::open(write_tiny_gguf(options, folder.path() / "tiny.gguf", type).string());
    SCOPED_TRACE(file->tensor_type("token_embd.weight"));
    EXPECT_EQ(file->tensor_shape("token_embd.weight"), expected.shape);
    std::vector<float> rows(3 * 64);
    file->read_rows("token_embd.weight", 5, 3, rows.data());
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_NEAR(rows[i], expected.values[5 * 64 + i], tolerance) << i;
    }
  }
}

TEST(Gguf, RefusesRowsAndTensorsThatAreNotThere) {
  TempFolder folder;
  const auto path = write_tiny_gguf({}, folder.path() / "tiny.gguf").string();
  const auto file = GgufFile::open(path);
  std::vector<float> row(64);
  EXPECT_THAT(error_text([&] { file->read_rows("token_embd.weight", 96, 1, row.data()); }),
              HasSubstr("tiny.gguf: tensor 'token_embd.weight'"));
  EXPECT_THROW(file->read_rows("token_embd.weight", -1, 1, row.data()), UserError);
  EXPECT_THROW(file->read_rows("token_embd.weight", 1, INT64_MAX, row.data()), UserError);
  EXPECT_THAT(error_text([&] { file->tensor_shape("nothing"); }), HasSubstr("no tensor 'nothing'"));
}

TEST(GgufModel, ReadsTheSettings) {
  TinyModelOptions options;
  options.layers = 3;
  options.theta = 500000;
  options.llama3_rotary = true;
  options.tied = false;
  TempFolder folder;
  const auto file = write_tiny_gguf(options, folder.path() / "tiny.gguf", TinyGgufType::kQ8_0);
  const ModelConfig config = open_gguf_model(file.string()).config;
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.name, "tiny");  // the file's stem
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.query_heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.intermediate, 96);
  EXPECT_EQ(config.vocab, 96);
  EXPECT_EQ(config.context, 512);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.rotary.dims, 16);
  EXPECT_EQ(config.rotary.theta, 500000);
  EXPECT_EQ(config.rotary.kind, RotarySettings::Kind::kDefault);
  ASSERT_EQ(config.rotary.divisors.size(), 8u);
  EXPECT_FLOAT_EQ(config.rotary.divisors[7], 8);
  EXPECT_EQ(config.weight_types, "q8_0 (23 tensors), f32 (7 tensors)");
}

// Files of architecture llama hold the two rows of a rotary pair as neighbours; Weights promises them half a
// head apart. Row numbers are read from the file itself, so that this does not lean on the writer of tiny
// models.
TEST(GgufModel, UndoesTheOrderOfInterleavedRotary) {
  TempFolder folder;
  const auto path = write_tiny_gguf({}, folder.path() / "tiny.gguf").string();
  const auto file = GgufFile::open(path);
  const ModelFiles model = open_gguf_model(path);
  const std::vector<float> ours = model.weights->read("model.layers.1.self_attn.k_proj.weight", {32, 64});
  std::vector<float> stored(32 * 64);
  file->read_rows("blk.1.attn_k.weight", 0, 32, stored.data());
  const int order[16] = {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15};
  for (int row = 0; row < 32; ++row) {
    const int place = row / 16 * 16 + order[row % 16];
    EXPECT_EQ(std::memcmp(&ours[row * 64], &stored[place * 64], 64 * sizeof(float)), 0) << row;
  }
  std::vector<float> some(2 * 64);
  model.weights->read_rows("model.layers.1.self_attn.k_proj.weight", 23, 2, some.data());
  EXPECT_EQ(std::memcmp(some.data(), &ours[23 * 64], sizeof(float) * some.size()), 0);
}

// The blocks of a row are those that its numbers come from, also where rows change places.
TEST(GgufModel, HandsOutBlocksInTheOrderOfRows) {
  TempFolder folder;
  const auto path = write_tiny_gguf({}, folder.path() / "tiny.gguf", TinyGgufType::kQ4_1).string();
  const ModelFiles model = open_gguf_model(path);
  const ggml_type_traits* traits = ggml_get_type_traits(GGML_TYPE_Q4_1);
  const size_t row_bytes = 64 / 32 * traits->type_size;
  for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
    const std::string name = fmt::format("model.layers.1.self_attn.{}.weight", part);
    SCOPED_TRACE(name);
    ASSERT_EQ(model.weights->type(name), "q4_1");
    std::vector<float> rows(20 * 64), from_blocks(20 * 64);
    model.weights->read_rows(name, 9, 20, rows.data());
    std::vector<std::byte> blocks(20 * row_bytes);
    ASSERT_TRUE(model.weights->read_blocks(name, 9, 20, blocks));
    traits->to_float(blocks.data(), from_blocks.data(), 20 * 64);
    EXPECT_EQ(rows, from_blocks);
    EXPECT_THAT(error_text([&] { model.weights->read_blocks(name, 60, 20, blocks); }),
                HasSubstr("rows 60 + 20 asked of"));
  }
  EXPECT_THAT(error_text([&] { model.weights->read_blocks("nothing", 0, 1, {}); }),
              HasSubstr("no tensor 'nothing'"));
}

TEST(GgufModel, RefusesBadSettingsByFileKeyAndValue) {
  const auto refused = [](TinyModelOptions options) {
    TempFolder folder;
    const auto path = write_tiny_gguf(options, folder.path() / "bad.gguf");
    return error_text([&] { open_gguf_model(path.string()); });
  };
  TinyModelOptions options;
  options.context = 0;
  EXPECT_THAT(refused(options), HasSubstr("bad.gguf: key 'llama.context_length' is 0 (expected 1.."));
  options = {};
  options.theta = -3;
  EXPECT_THAT(refused(options), HasSubstr("bad.gguf: key 'llama.rope.freq_base' is -3"));
  options = {};
  options.kv_heads = 3;
  EXPECT_THAT(refused(options), HasSubstr("bad.gguf: 4 query heads are not a multiple of 3"));
}

TEST(GgufDamage, TruncatedFilesAreRefused) {
  TempFolder folder;
  TinyModelOptions options = smallest();
  options.llama3_rotary = false;  // else the file ends with padding, which nobody misses
  const auto path = write_tiny_gguf(options, folder.path() / "cut.gguf", TinyGgufType::kQ8_0).string();
  const auto counts =
      testing::truncate_everywhere(testing::read_bytes(path), path, 400, [&] { read_all(path); });
  EXPECT_GE(counts.cases, 400);
}

TEST(GgufDamage, ChangedBytesAreRefusedOrRead) {
  TempFolder folder;
  const auto path = write_tiny_gguf(smallest(), folder.path() / "flip.gguf", TinyGgufType::kQ8_0).string();
  const std::string bytes = testing::read_bytes(path);
  const size_t header = 1700;  // where the tensors' data begins, about
  auto counts = testing::flip_bytes(bytes, path, header, 600, 1, [&] { read_all(path); });
  EXPECT_GE(counts.refused, 300);
  counts = testing::flip_bytes(bytes, path, bytes.size(), 200, 2, [&] { read_all(path); });
  EXPECT_EQ(counts.cases, 200);
}

// Every type number in every tensor entry, with the sizes that go with another type.
TEST(GgufDamage, OtherTypesAreRefusedOrRead) {
  TempFolder folder;
  const auto path = write_tiny_gguf(smallest(), folder.path() / "type.gguf").string();
  const std::string bytes = testing::read_bytes(path);
  const size_t name = bytes.find("blk.0.ffn_up.weight");
  ASSERT_NE(name, std::string::npos);
  const size_t type = name + std::strlen("blk.0.ffn_up.weight") + 4 + 2 * 8;  // after dimensions and sizes
  for (int value = 1; value < 256; ++value) {
    std::string damaged = bytes;
    damaged[type] = static_cast<char>(value);
    testing::write_bytes(path, damaged);
    EXPECT_TRUE(testing::refuses([&] { read_all(path); }, "type.gguf", "type " + std::to_string(value)));
  }
}

TEST(GgufDamage, WrongFilesAreRefused) {
  TempFolder folder;
  const std::string path = (folder.path() / "wrong.gguf").string();
  EXPECT_THAT(error_text([&] { GgufFile::open(path); }), HasSubstr("cannot open " + path));
  testing::write_bytes(path, "");
  EXPECT_THAT(error_text([&] { GgufFile::open(path); }), HasSubstr(path + " is empty"));
  testing::write_bytes(path, "GGML and more");
  EXPECT_THAT(error_text([&] { GgufFile::open(path); }), HasSubstr(path + " is not a GGUF file"));
  EXPECT_THAT(error_text([&] { GgufFile::open(folder.path().string()); }), HasSubstr("is a folder"));
}

}  // namespace
}  // namespace kvlab
