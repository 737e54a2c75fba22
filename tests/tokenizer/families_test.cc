// Against ids of the libraries that define the formats, frozen by tools/tokenizers/check.py: for each family
// a small vocabulary and texts that are hard on it.
#include <gtest/gtest.h>

#include <algorithm>

#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using nlohmann::json;
using testing::Folder;
using testing::open_json;
using testing::read_text;
using testing::write_text;

const std::string kGoldens = KVLAB_SOURCE_DIR "/tests/goldens/tokenizers/";

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::shared_ptr<const Tokenizer> open_frozen(const Folder& folder, const json& frozen) {
  if (frozen.contains("tokenizer")) return open_json(folder, frozen["tokenizer"]);
  write_text(folder.file("tokenizer.model"), from_hex(frozen["model"].get<std::string>()));
  return open_tokenizer(folder.path());
}

class Families : public ::testing::TestWithParam<const char*> {};

TEST_P(Families, GiveTheLibrarysIds) {
  const Folder folder;
  const json frozen = json::parse(read_text(kGoldens + GetParam() + std::string(".json")));
  const auto tokenizer = open_frozen(folder, frozen);
  // SentencePiece's library finds no special tokens in texts.
  const bool parse_special = frozen.contains("tokenizer");
  EXPECT_GE(frozen["cases"].size(), 100u);
  for (const json& item : frozen["cases"]) {
    const auto text = item["text"].get<std::string>();
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->encode(text, parse_special), ids) << json(text);
    EXPECT_EQ(tokenizer->decode(ids), item.value("decoded", text));
    const std::vector<TextPart> whole = {{text, parse_special}};
    EXPECT_EQ(tokenizer->encode_parts(whole), ids);
  }
}

INSTANTIATE_TEST_SUITE_P(TokenizerJson, Families,
                         ::testing::Values("gpt2", "smollm", "llama3", "qwen2", "pythia", "neox_prefix",
                                           "tekken", "llama2", "mistral", "tinyllama", "phi3", "gemma",
                                           "metaspace", "words", "splits"),
                         [](const auto& info) { return std::string(info.param); });
INSTANTIATE_TEST_SUITE_P(SentencePiece, Families, ::testing::Values("sp_llama2", "sp_gemma", "sp_collapse"),
                         [](const auto& info) { return std::string(info.param); });

TEST(FrozenFamilies, SayWhatTheyAre) {
  const auto describe = [](const std::string& name) {
    const Folder folder;
    const auto tokenizer = open_frozen(folder, json::parse(read_text(kGoldens + name + ".json")));
    return tokenizer->description() + (tokenizer->add_bos() ? " bos" : "") +
           (tokenizer->add_eos() ? " eos" : "");
  };
  EXPECT_EQ(describe("qwen2").rfind("byte-level BPE (qwen2), ", 0), 0u);
  EXPECT_TRUE(describe("llama2").ends_with(" tokens bos"));
  EXPECT_TRUE(describe("mistral").ends_with(" tokens bos eos"));
  EXPECT_EQ(describe("mistral").rfind("BPE with byte fallback, ", 0), 0u);
  EXPECT_EQ(describe("sp_llama2").rfind("SentencePiece BPE with byte fallback, ", 0), 0u);
  EXPECT_TRUE(describe("gpt2").ends_with(" tokens"));
}

json frozen_model() {
  return json::parse(read_text(kGoldens + "sp_llama2.json"));
}

TEST(SentencePieceFolder, ConfigSaysTheRest) {
  const Folder folder;
  const json frozen = frozen_model();
  const auto plain = open_frozen(folder, frozen);
  EXPECT_EQ(plain->bos(), 1);
  EXPECT_EQ(plain->eos(), 2);
  EXPECT_TRUE(plain->add_bos());
  const auto with_prefix = plain->encode("a<s>a");
  write_text(folder.file("tokenizer_config.json"),
             R"({"add_bos_token": false, "add_eos_token": true, "legacy": false, "chat_template": "x",
                 "added_tokens_decoder": {"1": {"content": "<s>", "special": true, "normalized": false},
                                          "5000": {"content": "<|user|>", "special": true, "rstrip": true}}})");
  const auto configured = open_tokenizer(folder.path());
  EXPECT_FALSE(configured->add_bos());
  EXPECT_TRUE(configured->add_eos());
  EXPECT_EQ(configured->chat_template(), "x");
  EXPECT_EQ(configured->vocab_size(), 5001);
  // With "legacy" a space stands behind special tokens too.
  ASSERT_EQ(with_prefix.size(), 3u);
  const auto ids = configured->encode("a<s>a<|user|>  ");
  ASSERT_EQ(ids.size(), 4u);
  EXPECT_EQ(ids[0], with_prefix[0]);
  EXPECT_NE(ids[2], with_prefix[2]);
  EXPECT_EQ(ids[3], 5000);
}

TEST(SentencePieceFolder, DamageIsNamed) {
  const Folder folder;
  const std::string whole = from_hex(frozen_model()["model"].get<std::string>());
  const auto error_of = [&](const std::string& bytes) {
    write_text(folder.file("tokenizer.model"), bytes);
    return testing::user_error([&] { open_tokenizer(folder.path()); });
  };
  for (size_t size = 0; size < whole.size(); size += 101) {
    const std::string error = error_of(whole.substr(0, size));
    EXPECT_NE(error.find("tokenizer.model: "), std::string::npos) << size << ' ' << error;
  }
  // Field 2 (the trainer's settings) holds field 3 (the type of model): 1 is unigram.
  EXPECT_NE(error_of(std::string("\x0A\x03\x0A\x01x\x12\x02\x18\x01", 9)).find("unigram"), std::string::npos);
  // Field 3 (the normalizer) holds its name and a table.
  EXPECT_NE(error_of(std::string("\x0A\x03\x0A\x01x\x12\x02\x18\x02\x1A\x08\x0A\x03nfk\x12\x01t", 19))
                .find("the normalizer \"nfk\" is not supported"),
            std::string::npos);
  EXPECT_NE(error_of("\x0A\x07\x0A\x01x\x18\x09").find("damaged"), std::string::npos);
}

}  // namespace
}  // namespace kvlab
