// UTF-8, the table of bytes, cutting into words, and added tokens.
#include <gtest/gtest.h>

#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_map.h"
#include "tokenizer/known_splits.h"
#include "tokenizer/pattern.h"
#include "tokenizer/splitter.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

using Words = std::vector<std::string>;

Words cut(const SplitSteps& steps, const std::string& text) {
  Words words;
  std::deque<std::string> made;
  Splitter(steps).split(text, true, made, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(Utf8, FindsWhatIsInvalid) {
  EXPECT_EQ(find_invalid_utf8(""), std::string::npos);
  EXPECT_EQ(find_invalid_utf8("plain text, Äpfel, 中文, 🦙"), std::string::npos);
  EXPECT_EQ(find_invalid_utf8("\xF4\x8F\xBF\xBF"), std::string::npos);
  EXPECT_EQ(find_invalid_utf8("twelve bytes\xFF"), 12u);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE4\xB8", "\xF0\x9F\xA6"}) {
    EXPECT_EQ(find_invalid_utf8("a" + std::string(bad)), 1u);
    EXPECT_EQ(find_invalid_utf8("a" + std::string(bad) + "b"), 1u);
  }
}

TEST(Utf8, ReadsWhatItWrites) {
  for (const char32_t c : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text = "x";
    append_utf8(text, c);
    EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
    size_t pos = 1;
    EXPECT_EQ(next_code_point(text, pos), c);
    EXPECT_EQ(pos, text.size());
    EXPECT_EQ(previous_code_point(text, pos), 1u);
  }
}

TEST(ByteMap, AllBytesThereAndBack) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  const std::string chars = bytes_to_chars(bytes);
  EXPECT_EQ(find_invalid_utf8(chars), std::string::npos);
  EXPECT_EQ(chars_to_bytes(chars), bytes);
  EXPECT_EQ(bytes_to_chars(" \n"), "ĠĊ");
  EXPECT_EQ(chars_to_bytes("a b"), std::nullopt);
  EXPECT_EQ(chars_to_bytes("\xFF"), std::nullopt);
}

TEST(Splitter, Gpt2) {
  EXPECT_EQ(cut(gpt2_split(), "I'm  here: 1234 times\n\n"),
            (Words{"I", "'m", " ", " here", ":", " 1234", " times", "\n\n"}));
  EXPECT_EQ(cut(gpt2_split(), "WE'VE"), (Words{"WE", "'", "VE"}));
  EXPECT_EQ(cut(gpt2_split(), ""), Words{});
}

TEST(Splitter, SmolLmCutsDigitsFirst) {
  EXPECT_EQ(cut(smollm_split(), "in 1984½, ok"), (Words{"in", " ", "1", "9", "8", "4", "½", ",", " ok"}));
}

TEST(Splitter, Llama3) {
  EXPECT_EQ(cut(llama3_split(), "1234567 WE'VE (ok)\n\n x"),
            (Words{"123", "456", "7", " WE", "'VE", " (", "ok", ")\n\n", " x"}));
}

TEST(Splitter, WhiteSpaceIsUnicodes) {
  // U+180E counts as white space in PCRE2, but not in Unicode.
  EXPECT_EQ(cut(gpt2_split(), "\u180E!"), (Words{"\u180E!"}));
  EXPECT_EQ(cut(gpt2_split(), "a\u3000\u0085b"), (Words{"a", "\u3000", "\u0085", "b"}));
}

TEST(Splitter, Qwen2TakesDigitsOneByOne) {
  EXPECT_EQ(cut(qwen2_split(), "a 1234 WE'VE"), (Words{"a", " ", "1", "2", "3", "4", " WE", "'VE"}));
}

TEST(Splitter, TekkenEndsWordsAtCapitals) {
  EXPECT_EQ(cut(tekken_split(), "CamelCase 12a/\n"), (Words{"Camel", "Case", " ", "1", "2", "a", "/\n"}));
}

SplitStep prefix_step(const std::string& prefix, PrefixPlace place, const std::string& pattern = "") {
  SplitStep step = isolate(pattern);
  step.prefix = prefix;
  step.place = place;
  return step;
}

TEST(Splitter, Prefixes) {
  EXPECT_EQ(cut({prefix_step(" ", PrefixPlace::kEveryPiece, gpt2_pattern())}, "a b"), (Words{" a", " b"}));
  EXPECT_EQ(cut({prefix_step(" ", PrefixPlace::kEveryPiece)}, " a b"), (Words{" a b"}));
  EXPECT_EQ(cut({isolate("x"), prefix_step("_", PrefixPlace::kEveryPiece)}, "axb"),
            (Words{"_a", "_x", "_b"}));
  EXPECT_EQ(cut({isolate("x"), prefix_step("_", PrefixPlace::kStartOfText)}, "axb"), (Words{"_a", "x", "b"}));
  EXPECT_EQ(cut({prefix_step("_", PrefixPlace::kNowhere)}, "a"), (Words{"a"}));
}

Words cut_by(SplitBehavior behavior, bool invert = false) {
  SplitStep step = isolate("-");
  step.behavior = behavior;
  step.invert = invert;
  return cut({step}, "-the-final--countdown");
}

TEST(Splitter, Behaviors) {
  using enum SplitBehavior;
  EXPECT_EQ(cut_by(kRemoved), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(cut_by(kIsolated), (Words{"-", "the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(cut_by(kMergedWithPrevious), (Words{"-", "the-", "final-", "-", "countdown"}));
  EXPECT_EQ(cut_by(kMergedWithNext), (Words{"-the", "-final", "-", "-countdown"}));
  EXPECT_EQ(cut_by(kContiguous), (Words{"-", "the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(cut_by(kRemoved, true), (Words{"-", "-", "-", "-"}));
}

TEST(Splitter, ReplacesSpaces) {
  SplitStep step = isolate("\u2581");
  step.space = "\u2581";
  step.behavior = SplitBehavior::kMergedWithNext;
  EXPECT_EQ(cut({step}, "a b  c"), (Words{"a", "\u2581b", "\u2581", "\u2581c"}));
}

TEST(Splitter, RefusesABrokenPattern) {
  EXPECT_NE(testing::user_error([] { cut({isolate("(a")}, ""); }).find("\"(a\""), std::string::npos);
  EXPECT_NE(testing::user_error([] { cut({isolate(R"(\C)")}, ""); }).find("not understood"),
            std::string::npos);
  // What Oniguruma, for which patterns are written, reads in another way.
  for (const char* other : {R"(\h)", "a{2}+", "[a[bc]]", "[a&&b]", "(?m)a", R"([\S])"}) {
    EXPECT_NE(testing::user_error([&] { cut({isolate(other)}, ""); }).find("not understood"),
              std::string::npos)
        << other;
  }
  EXPECT_EQ(cut({isolate("x*")}, "axxé"), (Words{"a", "xx", "é"}));  // empty matches do not cut
}

TEST(Pattern, WordCharactersAreUnicodes) {
  EXPECT_EQ(cut({isolate(R"(\w+)")}, "e\u0301\u203Fx-\u24B6."),
            (Words{"e\u0301\u203Fx", "-", "\u24B6", "."}));
  EXPECT_EQ(cut({isolate(quote_pattern("a.b[c]"))}, "axba.b[c]"), (Words{"axb", "a.b[c]"}));
  EXPECT_EQ(cut({isolate("[]x]")}, "a]b"), (Words{"a", "]", "b"}));
}

AddedToken added(int32_t id, std::string text) {
  return {id, std::move(text)};
}

AddedTokens make_tokens(const std::vector<AddedToken>& tokens) {
  std::vector<std::string> texts;
  for (const AddedToken& token : tokens) texts.push_back(token.text);
  return AddedTokens(tokens, texts);
}

// Both passes.
Words pieces(const AddedTokens& tokens, const std::string& text, bool parse_special = true) {
  Words out;
  const auto name = [](const AddedTokens::Piece& piece) {
    return piece.id < 0 ? std::string(piece.text) : "#" + std::to_string(piece.id);
  };
  for (const auto& piece : tokens.split(text, parse_special)) {
    if (piece.id >= 0) {
      out.push_back(name(piece));
    } else {
      for (const auto& inner : tokens.split_normalized(piece.text, parse_special)) out.push_back(name(inner));
    }
  }
  return out;
}

TEST(AddedTokens, LongestFirst) {
  const AddedTokens tokens = make_tokens({added(1, "<a>"), added(2, "<a><b>"), added(3, "<"), added(4, "")});
  EXPECT_EQ(pieces(tokens, "x<a><b><a><c"), (Words{"x", "#2", "#1", "#3", "c"}));
  EXPECT_EQ(pieces(tokens, "x<a>", false), (Words{"x<a>"}));
  EXPECT_EQ(pieces(tokens, ""), Words{});
}

TEST(AddedTokens, StripsAndPasses) {
  AddedToken left = added(1, "<l>"), right = added(2, "<r>"), spaces = added(3, "  ");
  left.left_strip = true;
  right.right_strip = true;
  spaces.special = false;
  spaces.second_pass = true;
  const AddedTokens tokens = make_tokens({left, right, spaces});
  EXPECT_EQ(pieces(tokens, "a \u3000<l> b<r> \n c"), (Words{"a", "#1", " b", "#2", "c"}));
  EXPECT_EQ(pieces(tokens, "<r>  <l>x"), (Words{"#2", "#1", "x"}));
  EXPECT_EQ(pieces(tokens, "a   b<l>", false), (Words{"a", "#3", " b<l>"}));
}

TEST(AddedTokens, SingleWords) {
  AddedToken word = added(1, "he");
  word.single_word = true;
  const AddedTokens tokens = make_tokens({word});
  EXPECT_EQ(pieces(tokens, "he, the he\u0301 he"), (Words{"#1", ", the he\u0301 ", "#1"}));
}

TEST(AddedTokens, TemplatesHoldSpecialTokensOfBothPasses) {
  AddedToken first = added(1, "<a>"), second = added(2, "<b>"), plain = added(3, "cc");
  second.second_pass = plain.second_pass = true;
  plain.special = false;
  const auto found = make_tokens({first, second, plain}).split_template("x<a>cc<b>", true);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[1].id, 1);
  EXPECT_EQ(found[2].text, "cc");
  EXPECT_EQ(found[3].id, 2);
}

}  // namespace
}  // namespace kvlab
