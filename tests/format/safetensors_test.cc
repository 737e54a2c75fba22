#include "format/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/damage.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TempFolder;
using testing::write_bytes;

// A safetensors file with this header and these data bytes.
void write_raw(const std::string& path, const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  write_bytes(path, bytes + header + data);
}

void read_file(const std::string& path) {
  const auto weights = open_safetensors(path);
  for (const std::string& name : weights->names()) weights->read(name, weights->shape(name));
}

TEST(Safetensors, ReadsWhatWasWritten) {
  TempFolder folder;
  const std::string path = (folder.path() / "a.safetensors").string();
  write_safetensors(path, {{"matrix", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"vector", {2}, {-1, 0.5}}});
  const auto weights = open_safetensors(path);
  EXPECT_EQ(weights->path(), path);
  EXPECT_THAT(weights->names(), ElementsAre("matrix", "vector"));
  EXPECT_THAT(weights->shape("matrix"), ElementsAre(2, 3));
  EXPECT_THAT(weights->read("vector", {2}), ElementsAre(-1, 0.5));
  float row[3];
  weights->read_rows("matrix", 1, 1, row);
  EXPECT_THAT(row, ElementsAre(4, 5, 6));
  EXPECT_THAT(error_text([&] {
                weights->read("matrix", {3, 2});
              }),
              HasSubstr("a.safetensors: tensor 'matrix' has shape [2, 3], expected [3, 2]"));
  EXPECT_THAT(error_text([&] { weights->shape("none"); }), HasSubstr("a.safetensors: no tensor 'none'"));
  EXPECT_THAT(error_text([&] { weights->read_rows("matrix", 1, 2, row); }), HasSubstr("rows 1 + 2"));
}

// The header has an odd length, so that the numbers lie at odd addresses.
TEST(Safetensors, ReadsHalvesAtAnyAddress) {
  TempFolder folder;
  const std::string path = (folder.path() / "h.safetensors").string();
  const std::string one_and_minus_two("\x00\x3c\x00\xc0", 4), bf16("\x80\x3f\x00\xc0", 4);
  std::string header = R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},"__metadata__":{"a":"b"}})";
  if (header.size() % 2 == 0) header += ' ';
  write_raw(path, header, one_and_minus_two + bf16);
  const auto weights = open_safetensors(path);
  EXPECT_THAT(weights->read("h", {2}), ElementsAre(1, -2));
  EXPECT_THAT(weights->read("b", {2, 1}), ElementsAre(1, -2));
  EXPECT_EQ(weights->type("b"), "bf16");
}

TEST(Safetensors, RefusesBadHeaders) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "bad JSON at byte"},
      {R"([1])", "the header is an array"},
      {R"({"t":5})", "tensor 't': is not an object"},
      {R"({"t":{"shape":[2],"data_offsets":[0,8]}})", "tensor 't': no dtype"},
      {R"({"t":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "unsupported dtype \"F64\""},
      {R"({"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "shape holds -2"},
      {R"({"t":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "shape holds 2.0"},
      {R"({"t":{"dtype":"F32","shape":[0,2],"data_offsets":[0,0]}})", "empty shape [0, 2]"},
      {R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "is too large"},
      {R"({"t":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", "shape holds"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "data_offsets [8, 0]"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "data_offsets [0]"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", "bytes 4..12 lie outside the 8"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "needs 4 bytes, the header gives 8"},
      {"{\"t\xff\":1}", "bad JSON at byte"},
      {R"({"t":1e999})", "bad JSON: number overflow"}};
  TempFolder folder;
  const std::string path = (folder.path() / "bad.safetensors").string();
  for (const auto& [header, expected] : cases) {
    write_raw(path, header, "12345678");
    const std::string text = error_text([&] { open_safetensors(path); });
    EXPECT_THAT(text, HasSubstr(expected)) << header;
    EXPECT_THAT(text, HasSubstr(path)) << header;
  }
  write_bytes(path, std::string(7, 'x'));
  EXPECT_THAT(error_text([&] { open_safetensors(path); }), HasSubstr(path + ": 7 bytes are too few"));
  write_bytes(path, std::string(64, '\xff'));
  EXPECT_THAT(error_text([&] { open_safetensors(path); }), HasSubstr(path + ": header of"));
}

// Deeply nested input must not exhaust the stack.
TEST(Safetensors, SurvivesDeepNesting) {
  TempFolder folder;
  const std::string path = (folder.path() / "deep.safetensors").string();
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  write_raw(path, "{\"t\":{\"dtype\":\"F32\",\"shape\":" + deep + ",\"data_offsets\":[0,8]}}", "12345678");
  EXPECT_THAT(error_text([&] { open_safetensors(path); }), HasSubstr("values nested more than 100 deep"));
}

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    write_safetensors(at("one.safetensors"), {{"a", {2}, {1, 2}}, {"unlisted", {1}, {0}}});
    write_safetensors(at("two.safetensors"), {{"b", {1, 2}, {3, 4}}});
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string open_with(const nlohmann::json& weight_map) {
    write_bytes(at("model.safetensors.index.json"), nlohmann::json{{"weight_map", weight_map}}.dump());
    return error_text([&] { weights_ = open_safetensors(folder_.path().string()); });
  }
  TempFolder folder_;
  std::shared_ptr<const Weights> weights_;
};

TEST_F(Shards, AreReadThroughTheIndex) {
  ASSERT_EQ(open_with({{"a", "one.safetensors"}, {"b", "two.safetensors"}}), "");
  EXPECT_THAT(weights_->names(), ElementsAre("a", "b"));
  EXPECT_THAT(weights_->read("a", {2}), ElementsAre(1, 2));
  EXPECT_THAT(weights_->read("b", {1, 2}), ElementsAre(3, 4));
}

TEST_F(Shards, MissingOrOutsideTheFolderAreRefused) {
  EXPECT_THAT(open_with({{"a", "three.safetensors"}}), HasSubstr("cannot open " + at("three.safetensors")));
  EXPECT_THAT(open_with({{"c", "two.safetensors"}}), HasSubstr("tensor 'c' is not in two.safetensors"));
  for (const char* name : {"../one.safetensors", "/etc/passwd", "..", "", "sub/one.safetensors"}) {
    EXPECT_THAT(open_with({{"a", name}}), HasSubstr("expected the name of a file beside the index")) << name;
  }
  EXPECT_THAT(open_with({{"a", 5}}), HasSubstr("tensor 'a' is in 5"));
  EXPECT_THAT(open_with(3), HasSubstr("model.safetensors.index.json: no object 'weight_map'"));
  write_bytes(at("model.safetensors.index.json"), "{");
  EXPECT_THAT(error_text([&] { open_safetensors(folder_.path().string()); }),
              HasSubstr("model.safetensors.index.json: bad JSON at byte"));
}

TEST(Safetensors, RefusesAFolderWithoutWeights) {
  TempFolder folder;
  EXPECT_THAT(error_text([&] { open_safetensors(folder.path().string()); }),
              HasSubstr(folder.path().string() + " has neither model.safetensors nor"));
}

TEST(SafetensorsDamage, TruncatedFilesAreRefused) {
  TempFolder folder;
  const std::string path = (folder.path() / "cut.safetensors").string();
  write_safetensors(path, {{"matrix", {8, 8}, std::vector<float>(64, 1)}, {"vector", {2}, {-1, 0.5}}});
  const auto counts = testing::truncate_everywhere(read_bytes(path), path, 400, [&] { read_file(path); });
  EXPECT_GE(counts.cases, 400);
}

TEST(SafetensorsDamage, ChangedBytesAreRefusedOrRead) {
  TempFolder folder;
  const std::string path = (folder.path() / "flip.safetensors").string();
  write_safetensors(path, {{"matrix", {8, 8}, std::vector<float>(64, 1)}, {"vector", {2}, {-1, 0.5}}});
  const auto counts = testing::flip_bytes(read_bytes(path), path, 150, 600, 3, [&] { read_file(path); });
  EXPECT_GE(counts.refused, 300);
}

}  // namespace
}  // namespace kvlab
