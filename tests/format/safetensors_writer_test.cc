// Files written in pieces read back whole; unfinished ones leave nothing.
#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "format/safetensors.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Type = SafetensorsWriter::Type;

TEST(SafetensorsWriter, PiecesInAnyOrder) {
  const TempFolder folder;
  const std::string path = (folder.path() / "w.safetensors").string();
  SafetensorsWriter writer(path,
                           {{"f", Type::kF32, {2, 2}}, {"i", Type::kI32, {3}}, {"b", Type::kU8, {1, 3}}},
                           {{"recipe", "h2o(size=4)"}});
  writer.write("i", 1, std::vector<int32_t>{-1, 70000});
  writer.write("f", 2, std::vector<float>{3, 4.5f});
  writer.write("b", 0, std::vector<uint8_t>{0, 1, 255});
  EXPECT_FALSE(std::filesystem::exists(path)) << "not before it is whole";
  writer.write("f", 0, std::vector<float>{1, 2});
  writer.write("i", 0, std::vector<int32_t>{5});
  writer.finish();
  const auto file = open_safetensors(path);
  EXPECT_THAT(file->read("f", {2, 2}), ElementsAre(1, 2, 3, 4.5f));
  EXPECT_THAT(file->read("i", {3}), ElementsAre(5, -1, 70000));
  EXPECT_THAT(file->read("b", {1, 3}), ElementsAre(0, 1, 255));
  EXPECT_EQ(file->type("i"), "i32");
  EXPECT_EQ(file->type("b"), "u8");
  EXPECT_THAT(testing::read_bytes(path), HasSubstr("\"__metadata__\":{\"recipe\":\"h2o(size=4)\"}"));
}

TEST(SafetensorsWriter, WhatIsNotFinishedIsGone) {
  const TempFolder folder;
  const std::string path = (folder.path() / "w.safetensors").string();
  testing::write_bytes(path, "old");
  {
    SafetensorsWriter writer(path, {{"f", Type::kF32, {2}}}, {});
    writer.write("f", 0, std::vector<float>{1});
    EXPECT_THROW(writer.finish(), InternalError) << "an element is missing";
  }
  EXPECT_EQ(testing::read_bytes(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriter, RefusesWhatDoesNotFit) {
  const TempFolder folder;
  SafetensorsWriter writer((folder.path() / "w.safetensors").string(), {{"f", Type::kF32, {2}}}, {});
  EXPECT_THROW(writer.write("f", 1, std::vector<float>{1, 2}), InternalError);
  EXPECT_THROW(writer.write("f", 0, std::vector<int32_t>{1}), InternalError);
  EXPECT_THAT(testing::error_text([] { SafetensorsWriter("/no/such/folder/x", {}, {}); }),
              HasSubstr("cannot write /no/such/folder/x"));
}

TEST(Safetensors, LongIntegersAndTruthValues) {
  const TempFolder folder;
  const std::string header = R"({"l":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
                             R"("t":{"dtype":"BOOL","shape":[2],"data_offsets":[16,18]}})";
  const uint64_t length = header.size();
  const int64_t values[] = {-3, 1 << 20};
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values), sizeof values);
  bytes += std::string("\1\0", 2);
  const auto file = open_safetensors(folder.write("i.safetensors", bytes).string());
  EXPECT_THAT(file->read("l", {2}), ElementsAre(-3, 1 << 20));
  EXPECT_THAT(file->read("t", {2}), ElementsAre(1, 0));
}

}  // namespace
}  // namespace kvlab
