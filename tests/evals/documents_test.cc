#include "evals/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

// What reading `content` as `name` is refused with, from the file's name on.
std::string refusal(const std::string& name, const std::string& content,
                    const DocumentOptions& options = {}) {
  TempFolder folder;
  try {
    read_documents(folder.write(name, content), options);
  } catch (const UserError& error) {
    const std::string message = error.what();
    const size_t at = message.find(name);
    return at == std::string::npos ? message : message.substr(at);
  }
  return "taken";
}

const DocumentOptions kIds{.text_field = "", .tokens_field = "ids", .mask_field = "mask"};

TEST(Documents, ReadsTextOrContentAndSkipsBlankLines) {
  TempFolder folder;
  const auto path =
      folder.write("d.jsonl",
                   "\xef\xbb\xbf{\"text\": \"one\"}\r\n\n  \t\n{\"content\": \"z\\u00e4h\", \"id\": \"b7\"}\n"
                   "{\"content\": \"no\", \"text\": \"three\", \"id\": 5}");
  const std::vector<Document> documents = read_documents(path, {});
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].text, "one");
  EXPECT_THAT(documents[0].id, EndsWith("d.jsonl:1"));
  EXPECT_EQ(documents[1].text, "zäh");
  EXPECT_EQ(documents[1].id, "b7");
  EXPECT_EQ(documents[2].text, "three");
  EXPECT_EQ(documents[2].id, "5");
  EXPECT_EQ(documents[2].index, 2);
}

TEST(Documents, StopsAtMaxSamplesWithoutReadingOn) {
  TempFolder folder;
  const auto path = folder.write("d.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\nrubbish\n");
  EXPECT_EQ(read_documents(path, {.max_samples = 2}).size(), 2u);
  EXPECT_THROW(read_documents(path, {.max_samples = 3}), UserError);
  EXPECT_THROW(read_documents(path, {.max_samples = -1}), UserError);
}

TEST(Documents, PlainTextIsOneDocument) {
  TempFolder folder;
  for (const char* name : {"a.txt", "b.raw", "c.md", "d"}) {
    const std::vector<Document> documents = read_documents(folder.write(name, "a\n\nb\n"), {});
    ASSERT_EQ(documents.size(), 1u) << name;
    EXPECT_EQ(documents[0].text, "a\n\nb\n");
    EXPECT_EQ(documents[0].id, name);
  }
}

TEST(Documents, ReadsIdsAndMasks) {
  TempFolder folder;
  const auto path = folder.write("d.jsonl", "{\"ids\": [1, 0, 2147483647], \"mask\": [0, 1, true]}");
  const std::vector<Document> documents = read_documents(path, kIds);
  EXPECT_THAT(documents.at(0).ids, ElementsAre(1, 0, 2147483647));
  EXPECT_THAT(*documents[0].mask, ElementsAre(0, 1, 1));
  EXPECT_FALSE(read_documents(path, {.tokens_field = "ids"}).at(0).mask);
}

TEST(Documents, SaysWhereTheJsonIsBad) {
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"a\"}\n\n{\"text\": }\n"),
              HasSubstr("d.jsonl:3: bad JSON at column 10"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"cut"), HasSubstr("d.jsonl:1: bad JSON at column"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"\\ud800\"}"), HasSubstr("bad JSON"));
  EXPECT_THAT(refusal("d.jsonl", std::string("{\"text\0\": 1}", 12)), HasSubstr("bad JSON"));
  EXPECT_LT(refusal("d.jsonl", "{\"text\": \"" + std::string(100000, 'x')).size(), 400u);
  EXPECT_THAT(refusal("d.jsonl", std::string(200000, '[')), HasSubstr("bad JSON"));
  EXPECT_THAT(refusal("d.jsonl", R"({"text": "a", "score": 1e999})"),
              HasSubstr("d.jsonl:1: bad JSON: number overflow"));
}

TEST(Documents, RefusesOtherJson) {
  EXPECT_THAT(refusal("d.json", "[{\"text\": \"a\"}]"),
              HasSubstr("d.json:1: is a JSON array; kvlab reads JSONL"));
  EXPECT_THAT(refusal("d.json", "[\n{\"text\": \"a\"}]"), HasSubstr("d.json:1: bad JSON"));
  EXPECT_THAT(refusal("d.jsonl", "17"), HasSubstr("is a number, expected an object"));
}

TEST(Documents, NamesMissingAndWrongFields) {
  EXPECT_THAT(refusal("d.jsonl", "{\"body\": \"a\", \"x\": 1}"),
              HasSubstr("d.jsonl:1: no field \"text\" or \"content\"; name another with --text_field "
                        "(fields present: body, x)"));
  EXPECT_THAT(refusal("d.jsonl", "{}"), HasSubstr("(fields present: none)"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"a\"}", {.text_field = "body"}),
              HasSubstr("no field \"body\""));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": 7}"), HasSubstr("\"text\" is a number, expected a string"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": null}"), HasSubstr("\"text\" is a null, expected a string"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"\"}"), HasSubstr("\"text\" is empty"));
}

TEST(Documents, RefusesBadIdsAndMasks) {
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": [1, 2], \"mask\": [1]}", kIds),
              HasSubstr("has 1 values for 2 tokens"));
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": [1], \"mask\": [2]}", kIds),
              HasSubstr("element 0: expected 0 or 1"));
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": [1]}", kIds), HasSubstr("no field \"mask\""));
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": []}", kIds), HasSubstr("\"ids\" is empty"));
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": \"1\"}", kIds), HasSubstr("expected an array"));
  for (const char* bad : {"-1", "1.5", "2147483648", "1e3", "\"1\"", "99999999999999999999"}) {
    EXPECT_THAT(refusal("d.jsonl", std::string("{\"ids\": [3, ") + bad + "]}", kIds), HasSubstr("element 1"))
        << bad;
  }
  EXPECT_THAT(refusal("d.jsonl", "{\"ids\": [1]}", {.mask_field = "mask"}),
              HasSubstr("needs --tokens_field"));
  EXPECT_THAT(refusal("d.txt", "text", {.tokens_field = "ids"}), HasSubstr("plain text has no fields"));
}

TEST(Documents, SaysWhichByteIsNotText) {
  EXPECT_THAT(refusal("d.txt", "abc\xff"),
              HasSubstr("d.txt: is not UTF-8 text: byte 0xff at offset 3 of the file"));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xc3(\"}"),
              HasSubstr("d.jsonl:2: is not UTF-8 text: byte 0xc3 at offset 10 of the line"));
}

TEST(Documents, RefusesEmptyMissingAndFolders) {
  EXPECT_THAT(refusal("d.txt", ""), HasSubstr("d.txt: is empty"));
  EXPECT_THAT(refusal("d.txt", "\xef\xbb\xbf"), HasSubstr("d.txt: is empty"));
  EXPECT_THAT(refusal("d.jsonl", ""), HasSubstr("holds no documents"));
  EXPECT_THAT(refusal("d.jsonl", "\n \n"), HasSubstr("holds no documents"));
  EXPECT_THROW(read_documents("/nonexistent/d.jsonl", {}), UserError);
  EXPECT_THROW(read_documents("", {}), UserError);
  TempFolder folder;
  EXPECT_THROW(read_documents(folder.path(), {}), UserError);
}

}  // namespace
}  // namespace kvlab
