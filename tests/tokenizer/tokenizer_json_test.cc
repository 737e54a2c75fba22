// tokenizer.json and tokenizer_config.json: what is read, and what damage is named.
#include <gtest/gtest.h>

#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using nlohmann::json;
using testing::Folder;
using testing::open_json;
using testing::tiny_tokenizer;
using testing::user_error;
using testing::write_text;

using Ids = std::vector<int32_t>;

json tiny() {
  return tiny_tokenizer({{"a", "b"}, {"ab", "c"}, {" ", "ab"}});
}  // ids 256, 257, 258; <|end|> 259

TEST(TokenizerJson, EncodesAndDecodes) {
  const Folder folder;
  const auto tokenizer = open_json(folder, tiny());
  EXPECT_EQ(tokenizer->vocab_size(), 260);
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (gpt-2), 260 tokens");
  EXPECT_EQ(tokenizer->encode("abc ab<|end|>b"), (Ids{257, 258, 259, 'b'}));
  EXPECT_EQ(tokenizer->encode("<|end|>", false).size(), 7u);
  EXPECT_EQ(tokenizer->decode({257, 259}), "abc<|end|>");
  EXPECT_EQ(tokenizer->decode({257, 259}, false), "abc");
  EXPECT_EQ(tokenizer->decode({0xC3}), "\xC3");  // half a character comes out raw
  EXPECT_EQ(tokenizer->bos(), -1);
  EXPECT_FALSE(tokenizer->add_bos());
}

TEST(TokenizerJson, MergesAsTextsAreTheSame) {
  const Folder folder;
  json texts = tiny();
  for (json& merge : texts["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  EXPECT_EQ(open_json(folder, texts)->encode("abc ab"), (Ids{257, 258}));
}

TEST(TokenizerJson, RefusesBadTextAndIds) {
  const Folder folder;
  const auto tokenizer = open_json(folder, tiny());
  EXPECT_NE(user_error([&] { tokenizer->encode("abc\xC3("); }).find("at byte 3"), std::string::npos);
  EXPECT_EQ(user_error([&] { tokenizer->decode({260}); }), "token id 260 is out of range (expected 0..259)");
  EXPECT_THROW(tokenizer->decode({-1}), UserError);
}

TEST(TokenizerJson, SmolLmSteps) {
  const Folder folder;
  json smol = tiny_tokenizer({{"1", "2"}});
  smol["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Digits"}, {"individual_digits", true}},
                             {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}}};
  const auto tokenizer = open_json(folder, smol);
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (smollm), 258 tokens");
  EXPECT_EQ(tokenizer->encode("12"), (Ids{'1', '2'}));
}

json llama3() {
  json tokenizer = tiny_tokenizer({{"1", "2"}, {"12", "3"}, {"3", "4"}, {"'", "L"}, {"'L", "L"}, {"h", "i"}});
  const char* pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  tokenizer["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  tokenizer["model"]["ignore_merges"] = true;
  tokenizer["model"]["vocab"]["xyz"] = 300;
  tokenizer["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single", {{{"SpecialToken", {{"id", "<|end|>"}}}}, {{"Sequence", {{"id", "A"}}}}}}}}}};
  return tokenizer;
}

TEST(TokenizerJson, Llama3) {
  const Folder folder;
  const auto tokenizer = open_json(folder, llama3());
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (llama-bpe), 301 tokens");
  EXPECT_EQ(tokenizer->encode("1234"), (Ids{257, '4'}));  // 123 | 4, although 34 merges
  EXPECT_EQ(tokenizer->encode("I'LL"), (Ids{'I', 260}));  // contraction in capitals
  EXPECT_EQ(tokenizer->encode("xyz"), (Ids{300}));        // no merge makes it: ignore_merges
  EXPECT_EQ(tokenizer->encode("xyzx"), (Ids{'x', 'y', 'z', 'x'}));
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->bos(), 262);
}

TEST(TokenizerJson, ConfigNamesTokens) {
  const Folder folder;
  const json config = {
      {"bos_token", {{"content", "<|end|>"}}},
      {"eos_token", "abc"},
      {"add_bos_token", false},
      {"chat_template",
       {{{"name", "other"}, {"template", "no"}}, {{"name", "default"}, {"template", "yes"}}}}};
  write_text(folder.file("tokenizer_config.json"), config.dump());
  const auto tokenizer = open_json(folder, llama3());
  EXPECT_EQ(tokenizer->bos(), 262);
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->eos(), -1);  // "abc" is no token here
  EXPECT_EQ(tokenizer->chat_template(), "yes");
  const auto other = open_json(folder, tiny());
  EXPECT_EQ(other->eos(), 257);
}

TEST(TokenizerJson, UnknownBytes) {
  const Folder folder;
  json lacking = tiny();
  lacking["model"]["vocab"].erase("!");
  EXPECT_EQ(open_json(folder, lacking)->encode("!!!"), Ids{});
  lacking["model"]["unk_token"] = "<|end|>";
  EXPECT_EQ(open_json(folder, lacking)->encode("!!!"), (Ids{259, 259, 259}));
  lacking["model"]["fuse_unk"] = true;
  EXPECT_EQ(open_json(folder, lacking)->encode("!!!?"), (Ids{259, '?'}));
}

// The error of a changed tokenizer.json; it must name the file.
template <typename Change>
std::string damage(Change&& change) {
  const Folder folder;
  json tokenizer = tiny();
  change(tokenizer);
  const std::string error = user_error([&] { open_json(folder, tokenizer); });
  EXPECT_NE(error.find(folder.file("tokenizer.json")), std::string::npos) << error;
  return error;
}

TEST(TokenizerJsonDamage, Merges) {
  EXPECT_NE(damage([](json& t) {
              t["model"]["merges"].push_back({"zz", "q"});
            }).find("names \"zz\""),
            std::string::npos);
  EXPECT_NE(damage([](json& t) { t["model"]["merges"].push_back("q z"); }).find("names \"qz\""),
            std::string::npos);
  EXPECT_NE(damage([](json& t) { t["model"]["merges"].push_back("qz"); }).find("not two tokens"),
            std::string::npos);
  damage([](json& t) { t["model"]["merges"].push_back(7); });
  damage([](json& t) { t["model"]["merges"].push_back({1, 2}); });
  damage([](json& t) { t["model"]["merges"] = 3; });
}

TEST(TokenizerJsonDamage, Vocabulary) {
  EXPECT_NE(damage([](json& t) { t["model"]["vocab"]["a"] = 98; }).find("two tokens have the id 98"),
            std::string::npos);
  damage([](json& t) { t["model"]["vocab"]["a"] = -1; });
  damage([](json& t) { t["model"]["vocab"]["a"] = 1ull << 63; });
  damage([](json& t) { t["model"]["vocab"]["a"] = "b"; });
  damage([](json& t) { t["model"]["vocab"] = json::array({"a", "b"}); });
  damage([](json& t) { t["model"].erase("vocab"); });
  damage([](json& t) { t.erase("model"); });
}

TEST(TokenizerJsonDamage, Sections) {
  EXPECT_NE(damage([](json& t) {
              t["normalizer"] = {{"type", "Precompiled"}};
            }).find("\"Precompiled\""),
            std::string::npos);
  EXPECT_NE(damage([](json& t) {
              t["post_processor"] = {{"type", "BertProcessing"}};
            }).find("\"BertProcessing\""),
            std::string::npos);
  EXPECT_NE(damage([](json& t) { t["model"]["dropout"] = 0.1; }).find("dropout is 0.1"), std::string::npos);
  EXPECT_NE(damage([](json& t) { t["model"]["type"] = "WordPiece"; }).find("\"WordPiece\""),
            std::string::npos);
  EXPECT_NE(damage([](json& t) {
              t["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
            }).find("UnicodeScripts"),
            std::string::npos);
  damage([](json& t) { t["pre_tokenizer"] = nullptr; });
  damage([](json& t) { t["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", 5}}; });
  damage([](json& t) { t["decoder"] = nullptr; });
  damage([](json& t) { t["decoder"] = "ByteLevel"; });
  damage([](json& t) { t["added_tokens"] = "none"; });
  damage([](json& t) { t["added_tokens"][0]["special"] = "yes"; });
  damage([](json& t) { t["post_processor"] = {{"type", "TemplateProcessing"}, {"single", "A"}}; });
  damage([](json& t) { t = json::array(); });
  damage([](json& t) { t = 5; });
}

TEST(TokenizerJsonDamage, SaysWhichValueIsWrong) {
  EXPECT_NE(damage([](json& t) {
              t["added_tokens"][0].erase("content");
            }).find("'added_tokens[0].content' is missing"),
            std::string::npos);
  EXPECT_NE(damage([](json& t) {
              t["added_tokens"][0]["special"] = "yes";
            }).find("'added_tokens[0].special' is \"yes\" (expected true or false)"),
            std::string::npos);
  EXPECT_NE(damage([](json& t) { t["model"].erase("vocab"); }).find("'model.vocab' is missing"),
            std::string::npos);
  EXPECT_NE(damage([](json& t) {
              t["model"]["merges"].push_back({1, 2});
            }).find("pair of texts"),
            std::string::npos);
}

// A small file must not take much memory, nor its nesting all of the stack.
TEST(TokenizerJsonDamage, ClaimsThatAreTooLarge) {
  EXPECT_NE(damage([](json& t) { t["model"]["vocab"]["far"] = 4000000; }).find("id 4000000, but there are"),
            std::string::npos);
  EXPECT_NE(damage([](json& t) {
              for (int i = 0; i < 200; ++i)
                t["pre_tokenizer"] = {{"type", "Sequence"}, {"x", t["pre_tokenizer"]}};
            }).find("nested more than 100 deep"),
            std::string::npos);
}

TEST(TokenizerJson, DecodersMayNotGrowWithoutEnd) {
  const Folder folder;
  json fallback = tiny();
  const json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  fallback["model"]["byte_fallback"] = true;
  fallback["decoder"] = {{"type", "Sequence"}, {"decoders", json::array({twice, twice})}};
  EXPECT_EQ(open_json(folder, fallback)->decode({'a'}), "aaaa");
  for (int i = 0; i < 60; ++i) fallback["decoder"]["decoders"].push_back(twice);
  const auto tokenizer = open_json(folder, fallback);
  EXPECT_NE(user_error([&] { tokenizer->decode({'a'}); }).find("replacements make more than"),
            std::string::npos);
}

TEST(TokenizerJsonDamage, EveryTruncation) {
  const Folder folder;
  const std::string whole = tiny().dump();
  for (size_t size = 0; size < whole.size(); size += 37) {
    write_text(folder.file("tokenizer.json"), whole.substr(0, size));
    const std::string error = user_error([&] { open_tokenizer(folder.path()); });
    EXPECT_NE(error.find("tokenizer.json: bad JSON at byte"), std::string::npos) << error;
  }
}

TEST(TokenizerJsonDamage, Config) {
  const Folder folder;
  write_text(folder.file("tokenizer_config.json"), "{\"bos_token\": ");
  EXPECT_NE(user_error([&] { open_json(folder, tiny()); }).find("tokenizer_config.json: bad JSON at byte"),
            std::string::npos);
  for (const char* bad : {R"({"bos_token": 5})", R"({"bos_token": "<|end|>", "add_bos_token": "x"})", "[1]",
                          R"({"chat_template": 1})"}) {
    write_text(folder.file("tokenizer_config.json"), bad);
    EXPECT_NE(user_error([&] { open_json(folder, tiny()); }).find(folder.path()), std::string::npos) << bad;
  }
}

TEST(OpenTokenizer, NamesWhatIsMissing) {
  const Folder folder;
  EXPECT_NE(user_error([] { open_tokenizer("/no/such/model"); }).find("/no/such/model: no such file"),
            std::string::npos);
  EXPECT_NE(
      user_error([&] { open_tokenizer(folder.path()); }).find(folder.path() + ": there is no tokenizer.json"),
      std::string::npos);
}

}  // namespace
}  // namespace kvlab
