// At every place where a text may be cut, the ids of the parts are those of the whole.
#include "tokenizer/text_cuts.h"

#include <gtest/gtest.h>

#include "tokenizer/known_splits.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using testing::Folder;
using testing::open_json;
using testing::tiny_tokenizer;

// Merges over spaces, line feeds, letters and digits, so that words cut elsewhere would merge otherwise.
nlohmann::json merging_tokenizer(const SplitSteps& split) {
  nlohmann::json json = tiny_tokenizer({{" ", " "},
                                        {"\n", "\n"},
                                        {"\n", " "},
                                        {" ", "a"},
                                        {"a", "b"},
                                        {"b", " "},
                                        {".", "\n"},
                                        {"'", "s"},
                                        {"1", "2"}});
  nlohmann::json steps = nlohmann::json::array();
  for (const SplitStep& step : split)
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", step.pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
  return json;
}

// Texts in which everything stands beside everything: white space of all kinds, punctuation, digits, letters
// of several scripts, marks, contractions, special tokens.
std::string mixed_text(uint64_t seed, int parts) {
  static const std::vector<std::string> kParts = {" ",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "\n",
                                                  "\n\n",
                                                  "\r\n",
                                                  "\t",
                                                  "\xc2\xa0",
                                                  "\xe3\x80\x80",
                                                  "\xe1\xa0\x8e",
                                                  "\xc2\x85",
                                                  "a",
                                                  "ab",
                                                  "aab",
                                                  "B",
                                                  "é",
                                                  "漢",
                                                  "ж",
                                                  "e\xcc\x81",
                                                  "1",
                                                  "12",
                                                  "1234",
                                                  "٣",
                                                  ".",
                                                  "...",
                                                  "!?",
                                                  "-",
                                                  "'",
                                                  "'s",
                                                  "'re",
                                                  "'S",
                                                  "😀",
                                                  "\xe2\x80\x8d",
                                                  "_",
                                                  "/",
                                                  "<|end|>",
                                                  "<",
                                                  "|"};
  std::string text;
  for (int i = 0; i < parts; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    text += kParts[(seed >> 33) % kParts.size()];
  }
  return text;
}

// The places where `text` may be cut.
std::vector<size_t> all_cuts(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<size_t> cuts;
  for (size_t at = tokenizer.last_cut(text); at > 0;
       at = tokenizer.last_cut(std::string_view(text).substr(0, at)))
    cuts.push_back(at);
  return cuts;
}

TEST(TextCuts, PartsHaveTheIdsOfTheWhole) {
  for (const SplitSteps& split : {gpt2_split(), smollm_split(), llama3_split(), qwen2_split()}) {
    SCOPED_TRACE(split_name(split));
    Folder folder;
    const auto tokenizer = open_json(folder, merging_tokenizer(split));
    size_t tried = 0;
    for (uint64_t seed = 1; seed <= 400; ++seed) {
      const std::string text = mixed_text(seed, 40);
      const std::vector<int32_t> whole = tokenizer->encode(text);
      for (const size_t at : all_cuts(*tokenizer, text)) {
        ++tried;
        std::vector<int32_t> ids = tokenizer->encode(text.substr(0, at));
        const std::vector<int32_t> rest = tokenizer->encode(text.substr(at));
        ids.insert(ids.end(), rest.begin(), rest.end());
        ASSERT_EQ(ids, whole) << "cut at " << at << " of \"" << text << '"';
      }
    }
    EXPECT_GT(tried, 1000u);
  }
}

TEST(TextCuts, PlacesAreFoundFromTheEnd) {
  const TextCuts cuts(llama3_split(), {}, {});
  EXPECT_EQ(cuts.last("ab cd ef"), 5u);
  EXPECT_EQ(cuts.last("ab cd"), 2u);
  EXPECT_EQ(cuts.last("ab\n\ncd"), 2u);
  EXPECT_EQ(cuts.last("ab. "), 3u);
  EXPECT_EQ(cuts.last("漢 "), 3u);
  EXPECT_EQ(cuts.last("ab.\n"), 0u) << "Llama 3 keeps line feeds with punctuation";
  EXPECT_EQ(cuts.last("12\n"), 0u);
  EXPECT_EQ(cuts.last("\n  \n "), 0u);
  EXPECT_EQ(cuts.last(" ab"), 0u) << "nothing is before the first character";
  EXPECT_EQ(cuts.last(""), 0u);
}

TEST(TextCuts, OtherSplitsAndTokensThatReachOverCutsAreNotCut) {
  EXPECT_EQ(TextCuts({isolate("[a-z ]+")}, {}, {}).last("ab cd"), 0u);
  SplitSteps prefixed = gpt2_split();
  prefixed[0].prefix = " ";
  prefixed[0].place = PrefixPlace::kEveryPiece;
  EXPECT_EQ(TextCuts(prefixed, {}, {}).last("ab cd"), 0u);
  const auto with = [](AddedToken token) { return TextCuts(gpt2_split(), {token}, {}).last("ab cd"); };
  EXPECT_EQ(with({.id = 1, .text = "<s>"}), 2u);
  EXPECT_EQ(with({.id = 1, .text = "  ", .left_strip = true}), 2u);
  EXPECT_EQ(with({.id = 1, .text = "b c"}), 0u);
  EXPECT_EQ(with({.id = 1, .text = "b\n"}), 0u);
  EXPECT_EQ(with({.id = 1, .text = "ab", .right_strip = true}), 0u);
  EXPECT_EQ(with({.id = 1, .text = "\xa9 "}), 0u);
}

}  // namespace
}  // namespace kvlab
