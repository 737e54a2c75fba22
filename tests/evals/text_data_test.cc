#include "evals/text_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "support/packed.h"
#include "support/temp_folder.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr const char* kWikitext = " \n = Title = \n \n One . \n Two . \n";

TEST(TextData, JoinsRowsAsPublishedProtocolsDo) {
  EXPECT_EQ(join_rows(kWikitext, Join::kRaw), kWikitext);
  EXPECT_EQ(join_rows(kWikitext, Join::kWikitext), " = Title = \n\n\n One . \n\n\n Two . \n");
  // "\n\n".join(["", " = Title = \n", "", " One . \n", " Two . \n"])
  EXPECT_EQ(join_rows(kWikitext, Join::kGptq), "\n\n = Title = \n\n\n\n\n One . \n\n\n Two . \n");
  EXPECT_EQ(join_rows("last row", Join::kWikitext), "last row");
  EXPECT_THAT([] { parse_join("lines"); }, ThrowsMessage<UserError>(HasSubstr("--join lines")));
}

TEST(TextData, FoldersAreBooksSortedByName) {
  TempFolder folder;
  folder.write("b.txt", "second");
  folder.write("a.txt", "first");
  folder.write(".hidden.txt", "no");
  folder.write("cover.png", "no");
  const auto books = read_text_data(folder.path(), {});
  ASSERT_EQ(books.size(), 2u);
  EXPECT_EQ(books[0].text, "first");
  EXPECT_EQ(books[1].id, "b.txt");
  EXPECT_EQ(books[1].index, 1);
  EXPECT_EQ(read_text_data(folder.path(), {{.max_samples = 1}}).size(), 1u);
  EXPECT_EQ(joined(books).text, "first\n\nsecond");
}

TEST(TextData, IdsAndMasksAreJoinedInOrder) {
  TempFolder folder;
  const auto path = folder.write("d.jsonl", "{\"ids\": [1, 2], \"m\": [1, 0]}\n{\"ids\": [3], \"m\": [1]}\n");
  const Document all = joined(read_text_data(path, {{"", "ids", "m", 0}}));
  EXPECT_THAT(all.ids, ::testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(*all.mask, ::testing::ElementsAre(1, 0, 1));
}

TEST(TextData, RefusesFoldersWithoutTextAndJoinsOfIds) {
  TempFolder folder;
  EXPECT_THAT([&] { read_text_data(folder.path(), {}); },
              ThrowsMessage<UserError>(HasSubstr("holds no text files")));
  const auto path = folder.write("d.jsonl", "{\"ids\": [1, 2]}\n");
  EXPECT_THAT(
      [&] {
        read_text_data(path, {{.tokens_field = "ids"}, Join::kWikitext});
      },
      ThrowsMessage<UserError>(HasSubstr("--join joins texts")));
}

// The lines of a plain text as the published data set has them: {"text": row}, blank lines as "".
std::string as_rows(const std::string& text) {
  std::istringstream lines(text);
  std::string rows;
  for (std::string line; std::getline(lines, line);) {
    const bool blank = line.find_first_not_of(" \t\r") == std::string::npos;
    rows += nlohmann::json{{"text", blank ? "" : line + "\n"}}.dump() + "\n";
  }
  return rows;
}

TEST(TextData, RawFilesAndRowsOfWikiTextAreTheSameText) {
  TempFolder folder;
  const std::string text = kWikitext;
  const auto raw = folder.write("wiki.test.raw", text), rows = folder.write("test.jsonl", as_rows(text));
  for (const Join join : {Join::kGptq, Join::kWikitext}) {
    const auto from_raw = read_text_data(raw, {{}, join}), from_rows = read_text_data(rows, {{}, join});
    ASSERT_EQ(from_raw.size(), 1u);
    ASSERT_EQ(from_rows.size(), 1u) << "rows are one document";
    EXPECT_EQ(from_raw[0].text, join_rows(text, join));
    EXPECT_EQ(from_rows[0].text, from_raw[0].text);
    EXPECT_EQ(from_rows[0].id, "test.jsonl");
  }
  EXPECT_THAT([&] { read_text_data(rows, {}); },
              ThrowsMessage<UserError>(HasSubstr("\"text\" is empty; rows of one text need --join")));
}

TEST(TextData, WikiText2FromItsFileAndFromPackedShardsOfRows) {
  const std::string path = testing::shared_path("data/wikitext2/wiki.test.raw");
  KVLAB_NEED_FILE(path);
  const std::string text = testing::read_text(path), rows = as_rows(text);
  TempFolder folder;
  const size_t cut = rows.find('\n', rows.size() / 3) + 1;
  std::filesystem::create_directories(folder.path() / "wikitext-2-raw-v1");
  folder.write("wikitext-2-raw-v1/test-00000-of-00002.jsonl.gz", gzipped(rows.substr(0, cut)));
  folder.write("wikitext-2-raw-v1/test-00001-of-00002.jsonl.zst", zstd_packed(rows.substr(cut)));
  // "\n\n".join(dataset["text"]), straight from the rows.
  std::istringstream lines(rows);
  std::string expected;
  int64_t count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    expected += (count ? "\n\n" : "") + nlohmann::json::parse(line).at("text").get<std::string>();
  EXPECT_EQ(count, 4358);
  TextOptions options{{}, Join::kGptq, "test", "wikitext-2-raw-v1"};
  EXPECT_TRUE(read_text_data(folder.path(), options).at(0).text == expected);
  EXPECT_TRUE(read_text_data(path, {{}, Join::kGptq}).at(0).text == expected);
}

TEST(TextData, PackedDocumentsAreCountedOverShards) {
  TempFolder folder;
  folder.write("train-0.jsonl.gz", gzipped("{\"text\": \"one\"}\n{\"text\": \"two\"}\n"));
  folder.write("train-1.jsonl", "");
  folder.write("train-2.jsonl.zst", zstd_packed("{\"text\": \"three\"}\nrubbish"));
  const auto documents = read_text_data(folder.path(), {{.max_samples = 3}});
  ASSERT_EQ(documents.size(), 3u) << "and the fourth line is not read";
  EXPECT_EQ(documents[2].text, "three");
  EXPECT_EQ(documents[2].index, 2);
  EXPECT_THAT(documents[2].id, ::testing::EndsWith("train-2.jsonl.zst:1"));
  EXPECT_THAT([&] { read_text_data(folder.path(), {}); },
              ThrowsMessage<UserError>(HasSubstr("train-2.jsonl.zst:2: bad JSON")));
  EXPECT_EQ(read_text_data(folder.path(), {{.max_samples = 1}}).size(), 1u);
}

// Longer than a piece, with characters of two to four bytes across every cut.
std::string long_text() {
  std::string text;
  for (int line = 0; text.size() < 3 * kPieceBytes; ++line)
    text += std::string(line % 7, 'x') + "é漢😀 " + (line % 5 == 0 ? "\n \n" : "\n");
  return text;
}

TEST(TextData, LongTextsComeInPiecesAndAreTheSame) {
  TempFolder folder;
  const std::string text = long_text();
  for (const std::string& bytes : {text, gzipped(text), "\xef\xbb\xbf" + text}) {
    const auto path = folder.write("long.txt", bytes);
    const auto pieces = open_text_data(path, {});
    size_t count = 0;
    for (bool more = true; more; ++count) {
      const auto piece = pieces->next();
      ASSERT_TRUE(piece);
      EXPECT_LE(piece->document.text.size(), kPieceBytes + 4);
      more = piece->more;
    }
    EXPECT_GE(count, 3u);
    EXPECT_FALSE(pieces->next());
    for (const Join join : {Join::kRaw, Join::kWikitext, Join::kGptq})
      EXPECT_TRUE(read_text_data(path, {{}, join}).at(0).text == join_rows(text, join));
  }
}

TEST(TextData, BadBytesFarInAreCountedFromTheStart) {
  TempFolder folder;
  std::string text = long_text();
  const auto message = [&](const std::string& place) {
    return ThrowsMessage<UserError>(HasSubstr("at offset " + place + " of the file"));
  };
  const size_t place = text.find("é", 2 * kPieceBytes) + 1;
  text[place] = 'x';
  EXPECT_THAT([&] { read_text_data(folder.write("a.txt", text), {}); }, message(std::to_string(place - 1)));
  text = std::string(kPieceBytes - 1, 'x') + "é";
  EXPECT_EQ(read_text_data(folder.write("b.txt", text), {}).at(0).text, text);
  text.pop_back();
  EXPECT_THAT([&] { read_text_data(folder.write("c.txt", text), {}); },
              message(std::to_string(kPieceBytes - 1)));
}

TEST(TextData, DocumentsAreJoinedInPieces) {
  TempFolder folder;
  folder.write("a.txt", long_text());
  folder.write("b.txt", "second");
  const auto all = join_documents(open_text_data(folder.path(), {}));
  const std::optional<Document> document = next_whole(*all);
  ASSERT_TRUE(document);
  EXPECT_TRUE(document->text == long_text() + "\n\nsecond");
  EXPECT_EQ(document->id, "2 documents");
  EXPECT_FALSE(all->next());
}

}  // namespace
}  // namespace kvlab
