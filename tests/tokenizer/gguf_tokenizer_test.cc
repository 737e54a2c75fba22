// What the GGUF metadata says, in files written by the test.
#include <gguf.h>
#include <gtest/gtest.h>

#include <functional>

#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using testing::Folder;
using testing::user_error;

using Change = std::function<void(gguf_context*)>;

// Tokens "a", "b", "ab", "<s>" (control), "::" (user-defined); `change` adds to them.
std::string write_gguf(const Folder& folder, const Change& change) {
  const char* tokens[] = {"a", "b", "ab", "<s>", "::"};
  const char* merges[] = {"a b"};
  const int32_t types[] = {1, 1, 1, 3, 4};
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(gguf_init_empty(), gguf_free);
  gguf_set_val_str(file.get(), "tokenizer.ggml.model", "gpt2");
  gguf_set_arr_str(file.get(), "tokenizer.ggml.tokens", tokens, 5);
  gguf_set_arr_str(file.get(), "tokenizer.ggml.merges", merges, 1);
  gguf_set_arr_data(file.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 5);
  gguf_set_val_u32(file.get(), "tokenizer.ggml.bos_token_id", 3);
  change(file.get());
  std::string path = folder.file("vocab.gguf");
  gguf_write_to_file(file.get(), path.c_str(), true);
  return path;
}

std::shared_ptr<const Tokenizer> open_with(const Change& change) {
  const Folder folder;
  return open_tokenizer(write_gguf(folder, change));
}

std::string error_with(const Change& change) {
  return user_error([&] { open_with(change); });
}

TEST(GgufTokenizer, MissingPatternIsGpt2AndSaysSo) {
  const auto tokenizer = open_with([](gguf_context*) {});
  EXPECT_NE(tokenizer->description().find("gpt-2, since the file does not name"), std::string::npos);
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->bos(), 3);
  EXPECT_EQ(tokenizer->eos(), -1);
  EXPECT_EQ(tokenizer->chat_template(), "");
  EXPECT_EQ(tokenizer->encode("ab<s>a::"), (std::vector<int32_t>{2, 3, 0, 4}));
  EXPECT_EQ(tokenizer->decode({2, 3, 4}, false), "ab::");  // user-defined tokens are text
}

TEST(GgufTokenizer, AddsBosAsTheFileOrTheFamilySays) {
  const auto with_pre = [](const char* pre) {
    return [=](gguf_context* f) { gguf_set_val_str(f, "tokenizer.ggml.pre", pre); };
  };
  for (const char* pre : {"llama-bpe", "llama3", "llama-v3"})
    EXPECT_TRUE(open_with(with_pre(pre))->add_bos());
  for (const char* pre : {"gpt-2", "smollm", "default"}) EXPECT_FALSE(open_with(with_pre(pre))->add_bos());
  EXPECT_TRUE(open_with([](gguf_context* f) {
                gguf_set_val_bool(f, "tokenizer.ggml.add_bos_token", true);
              })->add_bos());
}

TEST(GgufTokenizer, NamesWhatIsWrong) {
  EXPECT_NE(error_with([](gguf_context* f) {
              gguf_set_val_str(f, "tokenizer.ggml.model", "bert");
            }).find("\"bert\""),
            std::string::npos);
  const std::string pre =
      error_with([](gguf_context* f) { gguf_set_val_str(f, "tokenizer.ggml.pre", "falcon"); });
  EXPECT_NE(pre.find("vocab.gguf"), std::string::npos) << pre;
  EXPECT_NE(pre.find("\"falcon\", which is not supported (known: gpt-2, smollm"), std::string::npos) << pre;
  EXPECT_NE(error_with([](gguf_context* f) {
              gguf_set_val_u32(f, "tokenizer.ggml.eos_token_id", 5);
            }).find("eos_token_id is 5"),
            std::string::npos);
  EXPECT_NE(error_with([](gguf_context* f) {
              gguf_remove_key(f, "tokenizer.ggml.merges");
            }).find("no tokenizer.ggml.merges"),
            std::string::npos);
  EXPECT_NE(
      error_with([](gguf_context* f) { gguf_remove_key(f, "tokenizer.ggml.model"); }).find("no tokenizer"),
      std::string::npos);
  EXPECT_NE(error_with([](gguf_context* f) {
              gguf_set_val_u32(f, "tokenizer.ggml.tokens", 1);
            }).find("tokenizer.ggml.tokens"),
            std::string::npos);
  const char* merges[] = {"a zz"};
  EXPECT_NE(error_with([&](gguf_context* f) {
              gguf_set_arr_str(f, "tokenizer.ggml.merges", merges, 1);
            }).find("names \"zz\""),
            std::string::npos);
}

TEST(GgufTokenizer, NormalizesForFamiliesThatDo) {
  // "a" and a combining acute are one letter in NFC, which the vocabulary lacks.
  const auto with_pre = [](const char* pre) {
    return open_with([=](gguf_context* f) { gguf_set_val_str(f, "tokenizer.ggml.pre", pre); });
  };
  EXPECT_EQ(with_pre("gpt-2")->encode("a\u0301"), (std::vector<int32_t>{0}));
  EXPECT_EQ(with_pre("qwen2")->encode("a\u0301"), (std::vector<int32_t>{}));
}

// A vocabulary of the type "llama": 0 <unk>, 1 <s>, 2 </s>, 3..5 letters and the mark, 6.. joins, 9
// user-defined, then the bytes.
std::string write_score_vocabulary(const Folder& folder, const Change& change) {
  std::vector<std::string> tokens = {"<unk>",  "<s>", "</s>",    "a",  "b",
                                     "\u2581", "ab",  "\u2581a", "aa", "<x>"};
  std::vector<float> scores = {0, 0, 0, -9, -9, -9, -1, -2, -3, 0};
  std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 4};
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    scores.push_back(0);
    types.push_back(6);
  }
  std::vector<const char*> texts;
  for (const std::string& token : tokens) texts.push_back(token.c_str());
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(gguf_init_empty(), gguf_free);
  gguf_set_val_str(file.get(), "tokenizer.ggml.model", "llama");
  gguf_set_arr_str(file.get(), "tokenizer.ggml.tokens", texts.data(), texts.size());
  gguf_set_arr_data(file.get(), "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_arr_data(file.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  change(file.get());
  std::string path = folder.file("vocab.gguf");
  gguf_write_to_file(file.get(), path.c_str(), true);
  return path;
}

using Ids = std::vector<int32_t>;

TEST(GgufScoreVocabulary, JoinsByScore) {
  const Folder folder;
  const auto tokenizer = open_tokenizer(write_score_vocabulary(folder, [](gguf_context*) {}));
  EXPECT_EQ(tokenizer->description(), "SentencePiece BPE with byte fallback, 266 tokens");
  EXPECT_EQ(tokenizer->encode("ab"), (Ids{5, 6}));          // ab goes before the mark with a
  EXPECT_EQ(tokenizer->encode("aa"), (Ids{7, 3}));          // and that before aa
  EXPECT_EQ(tokenizer->encode("baaa"), (Ids{5, 4, 8, 3}));  // the left one of equals
  EXPECT_EQ(tokenizer->encode("\n\u00e9"), (Ids{5, 20, 10 + 0xC3, 10 + 0xA9}));
  EXPECT_EQ(tokenizer->encode("b<s>b <x>b"), (Ids{5, 4, 1, 5, 4, 5, 9, 5, 4}));
  EXPECT_GT(tokenizer->encode("<s>", false).size(), 1u);
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->decode({1, 5, 6, 7, 20, 10 + 0xC3, 10 + 0xA9}, false), "ab a\n\u00e9");
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_FALSE(tokenizer->add_eos());
}

TEST(GgufScoreVocabulary, SpacesAsTheFileSays) {
  const Folder folder;
  const auto tokenizer = open_tokenizer(write_score_vocabulary(folder, [](gguf_context* f) {
    gguf_set_val_bool(f, "tokenizer.ggml.add_space_prefix", false);
    gguf_set_val_bool(f, "tokenizer.ggml.remove_extra_whitespaces", true);
    gguf_set_val_bool(f, "tokenizer.ggml.add_bos_token", false);
    gguf_set_val_bool(f, "tokenizer.ggml.add_eos_token", true);
  }));
  EXPECT_EQ(tokenizer->encode("  b   b "), (Ids{4, 5, 4}));
  EXPECT_EQ(tokenizer->decode({5, 4}), "b");
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_TRUE(tokenizer->add_eos());
}

TEST(GgufScoreVocabulary, NamesWhatIsWrong) {
  const Folder folder;
  const auto error = [&](const Change& change) {
    return user_error([&] { open_tokenizer(write_score_vocabulary(folder, change)); });
  };
  EXPECT_NE(error([](gguf_context* f) {
              gguf_remove_key(f, "tokenizer.ggml.scores");
            }).find("no tokenizer.ggml.scores"),
            std::string::npos);
  EXPECT_NE(error([](gguf_context* f) {
              const float one = 1;
              gguf_set_arr_data(f, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, &one, 1);
            }).find("has 1 entries for 266"),
            std::string::npos);
  EXPECT_NE(error([](gguf_context* f) {
              const std::vector<int32_t> types(266, 9);
              gguf_set_arr_data(f, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
            }).find("type 9"),
            std::string::npos);
}

}  // namespace
}  // namespace kvlab
