// The record of training text: which overlaps it finds, that its file is exact, and everything that can be
// wrong with one.
#include "format/trained_on.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "base/random.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Ids that repeat nowhere by accident, the same for the same seed.
std::vector<int32_t> text(uint64_t seed, size_t tokens) {
  std::vector<int32_t> ids(tokens);
  for (size_t i = 0; i < tokens; ++i) ids[i] = static_cast<int32_t>(mix64(seed << 32 | i) % 49152);
  return ids;
}

// `inner` tokens of `from`, from `first` on, put into another text behind `before` tokens of its own.
std::vector<int32_t> quoting(const std::vector<int32_t>& from, size_t first, size_t inner, size_t before) {
  std::vector<int32_t> ids = text(99, before + 300);
  ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(before),
             from.begin() + static_cast<std::ptrdiff_t>(first),
             from.begin() + static_cast<std::ptrdiff_t>(first + inner));
  return ids;
}

TrainedOn record_of(const std::vector<int32_t>& ids) {
  TrainedOn record(49152);
  record.add(ids, "books.txt");
  return record;
}

TEST(TrainedOn, KeepsAShingleForEvery64Tokens) {
  EXPECT_EQ(record_of(text(1, 63)).shingles(), 0);
  EXPECT_EQ(record_of(text(1, 64)).shingles(), 1);
  EXPECT_EQ(record_of(text(1, 127)).shingles(), 1);
  EXPECT_EQ(record_of(text(1, 640)).shingles(), 10);
  EXPECT_EQ(record_of(std::vector<int32_t>(640, 7)).shingles(), 1) << "a text that repeats itself";
}

TEST(TrainedOn, FindsEvery127TokensWhereverTheyStand) {
  const std::vector<int32_t> trained = text(1, 640);
  const TrainedOn record = record_of(trained);
  for (size_t first = 0; first + 127 <= trained.size(); first += 3) {
    for (const size_t before : {0, 1, 63, 64, 100})
      EXPECT_GE(record.overlap(quoting(trained, first, 127, before)), 1) << first << " " << before;
  }
}

TEST(TrainedOn, CountsTheOffsetsOfStoredShingles) {
  const std::vector<int32_t> trained = text(1, 640);
  const TrainedOn record = record_of(trained);
  EXPECT_EQ(record.overlap(trained), 10);
  EXPECT_EQ(record.overlap(quoting(trained, 64, 128, 5)), 2);
  EXPECT_EQ(record.overlap(quoting(trained, 1, 126, 5)), 0) << "one token less than is always found";
  EXPECT_EQ(record.overlap(text(2, 5000)), 0);
  EXPECT_EQ(record.overlap({}), 0);
}

TEST(TrainedOn, OneTokenOrTheirOrderMakesAnotherShingle) {
  const std::vector<int32_t> trained = text(1, 64);
  const TrainedOn record = record_of(trained);
  EXPECT_EQ(record.overlap(trained), 1);
  for (size_t i = 0; i < trained.size(); ++i) {
    std::vector<int32_t> other = trained;
    other[i] ^= 1;
    EXPECT_EQ(record.overlap(other), 0) << i;
    other = trained;
    std::swap(other[i], other[(i + 32) % 64]);
    EXPECT_EQ(record.overlap(other), 0) << i;
  }
}

// The formula of the header, written out: files made on one machine are read on others.
TEST(TrainedOn, TheHashIsTheOneWrittenDown) {
  const std::vector<int32_t> trained = text(1, 64);
  uint64_t sum = 0, power = 1;
  for (int i = 63; i >= 0; --i, power *= 0x9e3779b97f4a7c15ull)
    sum += mix64(static_cast<uint64_t>(trained[i])) * power;
  const TempFolder folder;
  record_of(trained).write(folder.path() / "trained_on.json");
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(mix64(sum)));
  EXPECT_THAT(folder.read("trained_on.json"), HasSubstr("\"" + std::string(hex) + "\""));
  std::vector<int32_t> counted(64);
  for (int i = 0; i < 64; ++i) counted[i] = i;
  record_of(counted).write(folder.path() / "counted.json");
  EXPECT_THAT(folder.read("counted.json"), HasSubstr("\"9d6944632d90b7f8\""));
}

TEST(TrainedOn, ReadsWhatItWrote) {
  const TempFolder folder;
  TrainedOn record(49152);
  record.add(text(1, 640), "/home/somebody/books.txt");
  record.add(text(2, 130), "notes.jsonl:3");
  record.add(text(3, 10), "sh\xffrt");
  const std::string path = folder.path() / "trained_on.json";
  record.write(path);
  EXPECT_THAT(folder.read("trained_on.json"), Not(HasSubstr("somebody")));
  const TrainedOn back = TrainedOn::read(path);
  EXPECT_EQ(back.vocabulary(), 49152);
  EXPECT_EQ(back.shingles(), 12);
  ASSERT_EQ(back.texts().size(), 3u);
  EXPECT_EQ(back.texts()[0].name, "books.txt");
  EXPECT_EQ(back.texts()[1].name, "notes.jsonl:3");
  EXPECT_EQ(back.texts()[2].tokens, 10);
  EXPECT_EQ(back.texts()[0].hash, record.texts()[0].hash);
  EXPECT_NE(back.texts()[0].hash, back.texts()[1].hash);
  EXPECT_EQ(back.overlap(text(1, 640)), 10);
  EXPECT_EQ(back.overlap(text(2, 130)), 2);
  back.write(folder.path() / "again.json");
  EXPECT_EQ(folder.read("again.json"), folder.read("trained_on.json"));
}

TEST(TrainedOn, LiesBesideTheScorer) {
  const TempFolder folder;
  const std::string scorer = folder.path() / "filters.v2.safetensors";
  EXPECT_EQ(trained_on_path(folder.path()), (folder.path() / "trained_on.json").string());
  EXPECT_EQ(trained_on_path(scorer), (folder.path() / "filters.v2.trained_on.json").string());
  EXPECT_FALSE(read_trained_on(folder.path()));
  EXPECT_FALSE(read_trained_on(scorer));
  record_of(text(1, 640)).write(trained_on_path(scorer));
  EXPECT_FALSE(read_trained_on(folder.path()));
  ASSERT_TRUE(read_trained_on(scorer));
  EXPECT_EQ(read_trained_on(scorer)->shingles(), 10);
}

TEST(TrainedOn, WrongFilesAreNamedWithTheValue) {
  const TempFolder folder;
  const std::string good =
      R"({"format":"kvlab trained_on 1","shingle_tokens":64,"stride":64,"vocabulary":9,)"
      R"("texts":[{"name":"a","tokens":64,"hash":"0123456789abcdef"}],"shingles":["0123456789abcdef"]})";
  const auto error_of = [&](const std::string& from, const std::string& to) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    const std::string path = folder.write("trained_on.json", json);
    return testing::error_text([&] { TrainedOn::read(path); });
  };
  EXPECT_EQ(error_of("{", "{"), "");
  EXPECT_THAT(error_of("trained_on 1", "trained_on 2"),
              HasSubstr("'format' is \"kvlab trained_on 2\" (expected"));
  EXPECT_THAT(error_of("\"stride\":64", "\"stride\":32"), HasSubstr("'stride' is 32, and this version"));
  EXPECT_THAT(error_of("tokens\":64,\"s", "tokens\":8,\"s"), HasSubstr("'shingle_tokens' is 8"));
  EXPECT_THAT(error_of("\"vocabulary\":9", "\"vocabulary\":0"), HasSubstr("'vocabulary' is 0 (expected"));
  EXPECT_THAT(error_of("\"texts\"", "\"text\""), HasSubstr("'texts' is missing"));
  EXPECT_THAT(error_of("\"name\":\"a\",", ""), HasSubstr("'texts[0].name' is missing"));
  EXPECT_THAT(error_of("\"shingles\":[", "\"other\":["), HasSubstr("'shingles' is missing"));
  EXPECT_THAT(error_of("[\"0123456789abcdef\"]", "7"), HasSubstr("'shingles' is 7 (expected an array)"));
  for (const std::string wrong : {"[\"0123456789abcde\"]", "[\"0123456789abcdeg\"]", "[7]", "[\"\"]"})
    EXPECT_THAT(error_of("[\"0123456789abcdef\"]", wrong), HasSubstr("'shingles[0]' is ")) << wrong;
  EXPECT_THAT(error_of("[{\"name\"", "[{{\"name\""), HasSubstr("bad JSON at byte"));
  EXPECT_THAT(testing::error_text([&] { TrainedOn::read(folder.path() / "none.json"); }),
              HasSubstr("none.json"));
  EXPECT_THAT(testing::error_text([&] { record_of({}).write(folder.path() / "no" / "folder.json"); }),
              HasSubstr("cannot write"));
}

TEST(TrainedOn, DamagedFilesAreRefusedOrRead) {
  const TempFolder folder;
  const std::string path = folder.path() / "trained_on.json";
  record_of(text(1, 256)).write(path);
  const std::string bytes = testing::read_bytes(path);
  const auto use = [&] { TrainedOn::read(path); };
  // The last byte is a line's end, which says nothing.
  testing::truncate_everywhere(bytes.substr(0, bytes.size() - 1), path, 60, use);
  EXPECT_GT(testing::flip_bytes(bytes, path, bytes.size(), 200, 5, use).refused, 50);
}

}  // namespace
}  // namespace kvlab
