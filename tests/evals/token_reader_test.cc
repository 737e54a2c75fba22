// Ids of texts that are read in pieces against those of the whole text, and what is not read at all.
#include "evals/token_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "evals/text_data.h"
#include "support/packed.h"
#include "support/temp_folder.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;

// Bytes as ids. With `cuts`, texts are cut behind every line feed.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(bool cuts) : cuts_(cuts) {}
  std::vector<int32_t> encode(std::string_view text, bool) const override {
    encoded_ += text.size();
    longest_ = std::max(longest_, text.size());
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::vector<int32_t> encode_parts(std::span<const TextPart>) const override { return {}; }
  size_t last_cut(std::string_view text) const override {
    const size_t feed = text.rfind('\n');
    return cuts_ && feed != text.npos ? feed + 1 : 0;
  }
  std::string decode(const std::vector<int32_t>&, bool) const override { return ""; }
  int vocab_size() const override { return 300; }
  int bos() const override { return 299; }
  int eos() const override { return -1; }
  bool add_bos() const override { return true; }
  const std::string& chat_template() const override { return none_; }
  std::string description() const override { return "bytes"; }

  mutable size_t encoded_ = 0, longest_ = 0;  // bytes

 private:
  bool cuts_;
  std::string none_;
};

class TokenReaderTest : public ::testing::Test {
 protected:
  TokenReader reader(std::unique_ptr<PieceSource> pieces, int64_t max_length = 0) {
    ModelConfig config;
    config.vocab = 300;
    return {std::move(pieces),
            [this] {
              ++opened_;
              return tokenizer_;
            },
            config,
            {std::nullopt, max_length, true}};
  }
  TempFolder folder_;
  std::shared_ptr<ByteTokenizer> tokenizer_ = std::make_shared<ByteTokenizer>(true);
  int opened_ = 0;
};

std::string many_lines(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += "line " + std::to_string(text.size()) + "\n";
  return text;
}

TEST_F(TokenReaderTest, ALongTextHasTheIdsOfTheWhole) {
  const std::string text = many_lines(3 * kPieceBytes);
  const auto path = folder_.write("long.txt.gz", gzipped(text));
  std::vector<int32_t> expected = ByteTokenizer(true).encode(text, true);
  expected.insert(expected.begin(), 299);
  for (const bool cuts : {true, false}) {
    tokenizer_ = std::make_shared<ByteTokenizer>(cuts);
    TokenReader whole = reader(open_text_data(path, {}));
    const auto documents = whole.rest();
    ASSERT_EQ(documents.size(), 1u);
    EXPECT_TRUE(documents[0].tokens == expected);
    EXPECT_EQ(documents[0].scored.size(), expected.size());
    EXPECT_EQ(documents[0].id, "long.txt.gz");
    EXPECT_EQ(tokenizer_->longest_ < 3 * PieceEncoder::kSlice, cuts);
  }
}

TEST_F(TokenReaderTest, StopsReadingAtMaxLength) {
  const std::string text = many_lines(8 * kPieceBytes);
  folder_.write("a.txt", text + "\xff");  // never met
  folder_.write("b.txt", "second");
  TokenReader limited = reader(open_text_data(folder_.path(), {}), 100);
  const auto documents = limited.rest();
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].tokens.size(), 100u);
  EXPECT_EQ(documents[1].tokens.size(), 7u);
  EXPECT_EQ(documents[1].index, 1);
  EXPECT_LT(tokenizer_->encoded_, 2 * kPieceBytes);
  EXPECT_EQ(opened_, 1);
  TokenReader all = reader(join_documents(open_text_data(folder_.path(), {})), 100);
  EXPECT_EQ(all.rest().at(0).id, "a.txt") << "the second document was not reached";
}

TEST_F(TokenReaderTest, IdsAndMasksNeedNoTokenizer) {
  const auto path =
      folder_.write("d.jsonl", "{\"ids\": [1, 2, 3], \"m\": [1, 0, 1]}\n{\"ids\": [4, 5], \"m\": [1, 1]}\n");
  const TextOptions options{{"", "ids", "m", 0}};
  TokenReader each = reader(open_text_data(path, options));
  const auto documents = each.rest();
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_THAT(documents[0].scored, ElementsAre(0, 0, 1));
  TokenReader all = reader(join_documents(open_text_data(path, options)));
  const auto joined = all.next();
  ASSERT_TRUE(joined);
  EXPECT_THAT(joined->tokens, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(joined->scored, ElementsAre(0, 0, 1, 1, 1));
  EXPECT_FALSE(all.next());
  EXPECT_EQ(opened_, 0);
}

TEST_F(TokenReaderTest, ReadsAsTokenizeDocumentDoes) {
  const auto path = folder_.write("d.jsonl", "{\"text\": \"one\"}\n{\"text\": \"x\", \"id\": \"b\"}\n");
  TokenReader documents = reader(open_text_data(path, {}));
  EXPECT_THAT(documents.next()->tokens, ElementsAre(299, 'o', 'n', 'e'));
  EXPECT_EQ(documents.next()->id, "b");
  const auto one = folder_.write("e.jsonl", "{\"ids\": [7]}\n");
  TokenReader too_short = reader(open_text_data(one, {{.tokens_field = "ids"}}));
  EXPECT_THROW(too_short.next(), UserError);
}

// A real vocabulary on real text: any size of slice gives the ids of the whole.
TEST(PieceEncoder, ATextInSlicesIsTheText) {
  KVLAB_NEED_FILE(testing::default_model_path());
  const std::string path = testing::shared_path("data/wikitext2/wiki.test.raw");
  KVLAB_NEED_FILE(path);
  const auto tokenizer = open_tokenizer(testing::default_model_path());
  const std::string text = testing::read_text(path).substr(0, 400000);
  const std::vector<int32_t> whole = tokenizer->encode(text);
  for (const size_t slice : {64, 1000, 65536}) {
    PieceEncoder encoder(*tokenizer, slice);
    std::vector<int32_t> ids;
    for (size_t at = 0; at < text.size(); at += slice / 2)
      encoder.add(std::string_view(text).substr(at, slice / 2), ids);
    EXPECT_GT(ids.size(), whole.size() / 2) << "nothing was encoded on the way";
    encoder.finish(ids);
    EXPECT_TRUE(ids == whole) << slice;
  }
}

}  // namespace
}  // namespace kvlab
