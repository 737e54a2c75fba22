// Against ids that Hugging Face tokenizers and llama.cpp gave.
#include <gtest/gtest.h>

#include "format/gguf.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using testing::default_model_path;
using testing::read_text;
using testing::shared_path;

TEST(TokenizerGolden, DefaultModelGivesHuggingFaceIds) {
  const std::string goldens = shared_path("goldens/smollm2_tokens.json");
  KVLAB_NEED_FILE(goldens);
  KVLAB_NEED_FILE(default_model_path());
  const auto tokenizer = open_tokenizer(default_model_path());
  const auto cases = nlohmann::json::parse(read_text(goldens));
  EXPECT_GT(cases.size(), 20u);
  for (const auto& item : cases) {
    const auto text = item.at("text").get<std::string>();
    const auto ids = tokenizer->encode(text);
    EXPECT_EQ(ids, item.at("ids").get<std::vector<int32_t>>()) << '"' << text << '"';
    EXPECT_EQ(tokenizer->decode(ids), text);
  }
}

TEST(TokenizerGolden, DefaultModelSaysWhatItIs) {
  KVLAB_NEED_FILE(default_model_path());
  const auto tokenizer = open_tokenizer(default_model_path());
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (smollm), 49152 tokens");
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_NE(tokenizer->chat_template().find("<|im_start|>"), std::string::npos);
  EXPECT_EQ(tokenizer->encode("<|im_start|>user\n").front(), 1);
  EXPECT_GT(tokenizer->encode("<|im_start|>", false).size(), 1u);
  EXPECT_EQ(tokenizer->decode({1, 19556, 2}), "<|im_start|>Hello<|im_end|>");
  EXPECT_EQ(tokenizer->decode({1, 19556, 2}, false), "Hello");
}

// The first 384 tokens of a document, whose ids are in `golden` behind a BOS.
void compare_start(const Tokenizer& tokenizer, const std::string& text, const std::string& golden) {
  auto expected = nlohmann::json::parse(read_text(golden)).at("tokens").get<std::vector<int32_t>>();
  ASSERT_GE(expected.size(), 384u);
  EXPECT_EQ(expected.front(), 1);
  auto ids = tokenizer.encode(text);
  EXPECT_TRUE(tokenizer.decode(ids) == text);
  expected.resize(384);
  ids.insert(ids.begin(), 1);
  ids.resize(384);
  EXPECT_EQ(ids, expected);
}

// The default model's vocabulary as a tokenizer.json with GPT-2's pattern only.
nlohmann::json default_model_as_gpt2() {
  const auto file = GgufFile::open(default_model_path());
  nlohmann::json tokenizer = testing::tiny_tokenizer({});
  nlohmann::json vocab;
  const auto tokens = file->texts("tokenizer.ggml.tokens");
  for (size_t id = 0; id < tokens->size(); ++id) vocab[(*tokens)[id]] = id;
  tokenizer["model"]["vocab"] = vocab;
  tokenizer["model"]["merges"] = file->texts("tokenizer.ggml.merges").value();
  tokenizer["added_tokens"] = nlohmann::json::array();
  return tokenizer;
}

TEST(TokenizerGolden, WikiText) {
  const std::string text = shared_path("data/wikitext2/wiki.test.raw");
  const std::string golden = shared_path("goldens/wikitext2.json");
  KVLAB_NEED_FILE(text);
  KVLAB_NEED_FILE(golden);
  KVLAB_NEED_FILE(default_model_path());
  compare_start(*open_tokenizer(default_model_path()), read_text(text), golden);
}

// These ids come from transformers' GGUF reader, which leaves tokenizer.ggml.pre aside and takes GPT-2's
// pattern. The two differ where several spaces stand before a digit, as in this book's table of contents.
TEST(TokenizerGolden, KatrineWithGpt2Pattern) {
  const std::string text = shared_path("data/novels/katrine_14263.txt");
  const std::string golden = shared_path("goldens/katrine.json");
  KVLAB_NEED_FILE(text);
  KVLAB_NEED_FILE(golden);
  KVLAB_NEED_FILE(default_model_path());
  const testing::Folder folder;
  compare_start(*testing::open_json(folder, default_model_as_gpt2()), read_text(text), golden);
  const auto tokenizer = open_tokenizer(default_model_path());
  EXPECT_EQ(tokenizer->encode("is,   1 x"), (std::vector<int32_t>{271, 28, 333, 33, 1792}));
}

std::vector<std::string> split_by(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t end; (end = text.find(separator, at)) != std::string::npos; at = end + separator.size()) {
    parts.push_back(text.substr(at, end - at));
  }
  return parts;
}

TEST(TokenizerGolden, Gpt2VocabularyOfLlamaCpp) {
  const std::string path = shared_path("data/tokenizer/ggml-vocab-gpt-2.gguf");
  KVLAB_NEED_FILE(path);
  const auto tokenizer = open_tokenizer(path);
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (gpt-2), 50257 tokens");
  EXPECT_FALSE(tokenizer->add_bos());
  const auto texts = split_by(read_text(path + ".inp"), "\n__ggml_vocab_test__\n");
  const auto lines = split_by(read_text(path + ".out"), "\n");
  ASSERT_EQ(texts.size(), lines.size());
  ASSERT_GT(texts.size(), 40u);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::istringstream in(lines[i]);
    std::vector<int32_t> expected;
    for (int32_t id; in >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode(texts[i]), expected) << '"' << texts[i] << '"';
    EXPECT_EQ(tokenizer->decode(expected), texts[i]);
  }
}

TEST(TokenizerGolden, RandomTextComesBack) {
  for (const std::string& path :
       {default_model_path(), shared_path("data/tokenizer/ggml-vocab-gpt-2.gguf")}) {
    KVLAB_NEED_FILE(path);
    const auto tokenizer = open_tokenizer(path);
    for (uint64_t seed = 0; seed < 300; ++seed) {
      const std::string text = testing::random_text(seed, static_cast<int>(seed));
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << seed;
    }
  }
}

TEST(TokenizerGolden, BytesThatTheVocabularyLacksAreLeftOut) {
  KVLAB_NEED_FILE(default_model_path());
  const auto tokenizer = open_tokenizer(default_model_path());
  // SmolLM2 has no token for byte 4; Hugging Face leaves it out too.
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("Hel\x04lo")), "Hello");
}

TEST(TokenizerGolden, LongRunsTakeLinearTime) {
  KVLAB_NEED_FILE(default_model_path());
  const auto tokenizer = open_tokenizer(default_model_path());
  for (const char c : {'a', ' ', '1', '!', '\n', '<'}) {
    const std::string text(1 << 20, c);
    // Not EXPECT_EQ, which would print the megabyte.
    EXPECT_TRUE(tokenizer->decode(tokenizer->encode(text)) == text) << c;
  }
}

TEST(TokenizerGolden, ByteFallback) {
  const std::string folder = shared_path("models/stories260K");
  KVLAB_NEED_FILE(folder);
  const auto tokenizer = open_tokenizer(folder);
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->decode({403, 407, 261, 378}), "Once upon a time");
  EXPECT_EQ(tokenizer->decode({1, 403, 407, 261, 378}), "<s> Once upon a time");
  EXPECT_EQ(tokenizer->decode({1, 403, 407, 261, 378}, false), "Once upon a time");
  EXPECT_EQ(tokenizer->decode({411, 5, 10, 13, 200, 300}), "e\x02\x07\n\xC5 ha");
  EXPECT_THROW(tokenizer->decode({512}), UserError);
  EXPECT_EQ(tokenizer->encode("Once upon a time"), (std::vector<int32_t>{403, 407, 261, 378}));
}

}  // namespace
}  // namespace kvlab
