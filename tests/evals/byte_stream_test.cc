// Files unpacked while they are read: whole, of several members, cut off, damaged, and what is no text.
#include "evals/byte_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/packed.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// All bytes, asked for in pieces of `step`.
std::string read_all(const std::filesystem::path& path, size_t step = 4096) {
  const auto stream = open_byte_stream(path);
  std::string all, piece(step, '\0');
  while (const size_t count = stream->read(piece.data(), step)) all.append(piece, 0, count);
  EXPECT_EQ(stream->read(piece.data(), step), 0u) << "the end is an end";
  return all;
}

std::string refusal(const std::string& name, const std::string& bytes) {
  TempFolder folder;
  try {
    read_all(folder.write(name, bytes));
  } catch (const UserError& error) {
    return error.what();
  }
  return "taken";
}

// Does not pack well, so that the packed form is longer than the buffers.
std::string long_text() {
  std::string text;
  uint64_t state = 1;
  for (int i = 0; i < 300000; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    text += static_cast<char>(' ' + (state >> 33) % 90);
  }
  return text;
}

TEST(ByteStream, UnpacksWhateverTheFileIsCalled) {
  TempFolder folder;
  const std::string text = long_text();
  for (const std::string& packed : {gzipped(text), zstd_packed(text), text}) {
    EXPECT_TRUE(read_all(folder.write("any.name", packed)) == text);
    EXPECT_TRUE(read_all(folder.write("any.name", packed), 7) == text);
  }
  EXPECT_EQ(read_all(folder.write("a.gz", "not packed")), "not packed");
  EXPECT_EQ(read_all(folder.write("b", "")), "");
  EXPECT_EQ(read_all(folder.write("c", gzipped(""))), "");
  EXPECT_EQ(read_all(folder.write("d", zstd_packed(""))), "");
  // Much smaller packed than unpacked: all input is taken long before the output is given.
  const std::string zeros(3000000, 'a');
  EXPECT_TRUE(read_all(folder.write("e", gzipped(zeros))) == zeros);
  EXPECT_TRUE(read_all(folder.write("f", zstd_packed(zeros))) == zeros);
}

TEST(ByteStream, ReadsOnOverMembersAndFrames) {
  TempFolder folder;
  const std::string text = long_text();
  EXPECT_TRUE(read_all(folder.write("a", gzipped("one") + gzipped("") + gzipped(text))) == "one" + text);
  EXPECT_EQ(read_all(folder.write("b", gzipped("one") + std::string(1000, '\0'))), "one") << "tape padding";
  const std::string skipped("\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
  EXPECT_TRUE(read_all(folder.write("c", skipped + zstd_packed("one") + skipped + zstd_packed(text))) ==
              "one" + text);
}

TEST(ByteStream, SaysWhereAFileWasCutOff) {
  const std::string text = long_text();
  const std::string gzip = gzipped(text), zstd = zstd_packed(text);
  EXPECT_THAT(
      refusal("a.gz", gzip.substr(0, 100000)),
      AllOf(HasSubstr("a.gz: ends at byte 100000 within its gzip data, after "), HasSubstr("cut off")));
  EXPECT_THAT(refusal("a.zst", zstd.substr(0, 100000)),
              HasSubstr("a.zst: ends at byte 100000 within its Zstandard data"));
  for (const size_t missing : {1, 7, 9}) {  // within the checksums
    EXPECT_THAT(refusal("a.gz", gzip.substr(0, gzip.size() - missing)), HasSubstr("cut off")) << missing;
    EXPECT_THAT(refusal("a.zst", zstd.substr(0, zstd.size() - missing)), HasSubstr("cut off")) << missing;
  }
  EXPECT_THAT(refusal("a.gz", gzip.substr(0, 3)), HasSubstr("ends at byte 3"));
  EXPECT_THAT(refusal("a.gz", gzip + gzip.substr(0, 5)), HasSubstr("cut off")) << "in the second member";
}

TEST(ByteStream, SaysWhereAFileIsDamaged) {
  std::string gzip = gzipped(long_text()), zstd = zstd_packed(long_text());
  gzip[gzip.size() - 6] ^= 1;
  zstd[zstd.size() - 2] ^= 1;
  EXPECT_THAT(refusal("a.gz", gzip), AllOf(HasSubstr("a.gz: its gzip data are damaged before byte " +
                                                     std::to_string(gzip.size() - 4)),
                                           HasSubstr("incorrect data check")));
  EXPECT_THAT(refusal("a.zst", zstd),
              AllOf(HasSubstr("a.zst: its Zstandard data are damaged before byte"), HasSubstr("checksum")));
  EXPECT_THAT(refusal("a.gz", gzipped("one") + "rubbish"), HasSubstr("damaged before byte"));
  EXPECT_THAT(refusal("a.zst", zstd_packed("one") + "rubbish"), HasSubstr("damaged before byte"));
}

TEST(ByteStream, RefusesWhatIsNoTextWithTheWayOut) {
  EXPECT_THAT(refusal("a.jsonl.xz", std::string("\xfd\x37zXZ\0rest", 10)), HasSubstr("xz -d"));
  EXPECT_THAT(refusal("a.bz2", "BZh91AY&SYrest"), HasSubstr("bzip2 -d"));
  EXPECT_THAT(refusal("a.zip", "PK\x03\x04rest"), HasSubstr("unzip"));
  EXPECT_THAT(refusal("a.tar.gz", gzipped("x")), HasSubstr("tar xf"));
  EXPECT_THAT(refusal("test-00000-of-00001.parquet", "PAR1"),
              AllOf(HasSubstr("holds columns"), HasSubstr("export it to JSONL"), HasSubstr("read_parquet"),
                    HasSubstr("test-00000-of-00001.jsonl'")));
  EXPECT_THAT(refusal("data-00000-of-00001.arrow", "x"), HasSubstr("Dataset.from_file"));
  EXPECT_THAT(refusal("renamed.txt", "PAR1\x15\x04"), HasSubstr("holds columns"));
}

}  // namespace
}  // namespace kvlab
