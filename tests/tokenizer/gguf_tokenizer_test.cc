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
              gguf_set_val_str(f, "tokenizer.ggml.model", "llama");
            }).find("\"llama\""),
            std::string::npos);
  const std::string pre =
      error_with([](gguf_context* f) { gguf_set_val_str(f, "tokenizer.ggml.pre", "qwen2"); });
  EXPECT_NE(pre.find("vocab.gguf"), std::string::npos) << pre;
  EXPECT_NE(pre.find("\"qwen2\", which is not supported (known: gpt-2, smollm"), std::string::npos) << pre;
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

}  // namespace
}  // namespace kvlab
