// Normalizers, and the sections of tokenizer.json around the model.
#include "tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include "tokenizer/token_decoder.h"
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

TEST(Unicode, NormalForms) {
  const std::string decomposed = "e\u0301\uFB01\uAC01";
  EXPECT_EQ(to_normal_form(decomposed, NormalForm::kNfc), "\u00E9\uFB01\uAC01");
  EXPECT_EQ(to_normal_form(decomposed, NormalForm::kNfd), "e\u0301\uFB01\u1100\u1161\u11A8");
  EXPECT_EQ(to_normal_form(decomposed, NormalForm::kNfkc), "\u00E9fi\uAC01");
  EXPECT_EQ(to_normal_form(decomposed, NormalForm::kNfkd), "e\u0301fi\u1100\u1161\u11A8");
  EXPECT_EQ(to_normal_form(std::string("a\0b", 3), NormalForm::kNfc), std::string("a\0b", 3));
}

TEST(Unicode, CaseAndMarks) {
  EXPECT_EQ(to_lower_case("\u0130X\u03A3\u1E9E"), "i\u0307x\u03C3\u00DF");
  EXPECT_EQ(without_marks("e\u0301a\u20DD"), "ea");
  EXPECT_TRUE(is_word_character(U'_'));
  EXPECT_TRUE(is_word_character(0x24B6));
  EXPECT_FALSE(is_word_character(U'-'));
}

std::string after(std::shared_ptr<const NormalizeStep> step, const std::string& text, bool at_start = true) {
  Normalizer normalizer;
  normalizer.add(std::move(step));
  return normalizer.apply(text, at_start);
}

TEST(Normalizer, Steps) {
  EXPECT_EQ(after(strip_space_step(true, false), " \u3000a "), "a ");
  EXPECT_EQ(after(strip_space_step(false, true), " a\n\u3000"), " a");
  EXPECT_EQ(after(strip_space_step(true, true), " \n "), "");
  EXPECT_EQ(after(collapse_spaces_step(), "  a   b "), "a b");
  EXPECT_EQ(after(strip_end_step("xy"), "axyxy"), "a");
  EXPECT_EQ(after(prepend_step("_", false), "a", false), "_a");
  EXPECT_EQ(after(prepend_step("_", true), "a", false), "a");
  EXPECT_EQ(after(prepend_step("_", false), ""), "");
  EXPECT_EQ(after(replace_step(TextReplacer(Pattern("[ab]+"), "$0")), "cabc"), "c$0c");
}

TEST(Normalizer, MayNotGrowWithoutEnd) {
  Normalizer normalizer;
  for (int i = 0; i < 60; ++i) normalizer.add(replace_step(TextReplacer(std::string("a"), "aa")));
  EXPECT_NE(user_error([&] { normalizer.apply("a", true); }).find("replacements make more than"),
            std::string::npos);
}

TEST(TokenDecoder, Steps) {
  TokenDecoder decoder;
  decoder.add(decode_metaspace("_", true));
  EXPECT_EQ(decoder.apply({"__a", "_b", "_"}), "a b ");
  TokenDecoder bytes;
  bytes.add(decode_bytes());
  EXPECT_EQ(bytes.apply({"<0xC3>", "<0xA9>", "<0xZZ>", "<0x0a>"}), "\u00E9<0xZZ><0x0a>");
  TokenDecoder fused;
  fused.add(decode_fuse());
  fused.add(decode_strip(" ", 1, 2));
  EXPECT_EQ(fused.apply({"  a", " ", "  "}), " a ");
}

// Characters a b c, the mark, joins of the mark with each; "<s>" is looked for in normalized text.
json marked() {
  json tokenizer = tiny_tokenizer({});
  tokenizer["model"] = {{"type", "BPE"},
                        {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"_", 3}, {"_a", 4}, {"_b", 5}}},
                        {"merges", {"_ a", "_ b"}}};
  tokenizer["added_tokens"] = {{{"id", 6}, {"content", "<s>"}, {"special", true}, {"normalized", true}}};
  tokenizer["normalizer"] = {{"type", "Lowercase"}};
  tokenizer["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}, {"split", false}};
  tokenizer["decoder"] = {{"type", "Metaspace"}, {"replacement", "_"}};
  return tokenizer;
}

TEST(TokenizerJsonParts, PrefixOnlyAtTheStart) {
  const Folder folder;
  const auto tokenizer = open_json(folder, marked());
  EXPECT_EQ(tokenizer->encode("A b<S>a"), (Ids{4, 5, 6, 0}));
  EXPECT_EQ(tokenizer->encode("<s>a"), (Ids{6, 0}));
  EXPECT_EQ(tokenizer->decode({4, 5, 6, 0}), "a b<s>a");
}

TEST(TokenizerJsonParts, OutsideTextBringsNoSpecialTokensIn) {
  const Folder folder;
  const auto tokenizer = open_json(folder, marked());
  // Parts of a template: its own "<s>" is found, although it is looked for in normalized text; the user's is
  // not.
  const std::vector<TextPart> parts = {{"<s>a ", true}, {"b<s>", false}, {"<s>", true}};
  EXPECT_EQ(tokenizer->encode_parts(parts), (Ids{6, 0, 5, 6}));
}

TEST(TokenizerJsonParts, OldMetaspaceFlag) {
  const Folder folder;
  json old = marked();
  old["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}};
  EXPECT_EQ(open_json(folder, old)->encode("a b"), (Ids{0, 5}));
  old["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(open_json(folder, old)->encode("a b"), (Ids{4, 5}));
}

// The error of a changed tokenizer.json.
template <typename Change>
std::string error_of(Change&& change) {
  const Folder folder;
  json tokenizer = marked();
  change(tokenizer);
  const std::string error = user_error([&] { open_json(folder, tokenizer); });
  EXPECT_NE(error.find("tokenizer.json: "), std::string::npos) << error;
  return error;
}

TEST(TokenizerJsonParts, NamesWhatIsNotSupported) {
  const auto names = [](const std::string& section, const json& value, const std::string& what) {
    const std::string error = error_of([&](json& t) { t[section] = value; });
    EXPECT_NE(error.find(what), std::string::npos) << error;
  };
  const json cut = {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Sideways"}};
  names("normalizer", {{"type", "BertNormalizer"}}, "\"BertNormalizer\" is not supported (known: NFC");
  names("normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "a"}}, "not empty");
  names("normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", "a"}},
        "not understood");
  names("pre_tokenizer", cut, "Sideways");
  names("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}},
        "\"last\"");
  names("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", ""}}, "one character");
  names("pre_tokenizer",
        {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Whitespace"}}}}},
        "\"Whitespace\" behind ByteLevel");
  names("decoder", {{"type", "WordPiece"}}, "\"WordPiece\" is not supported");
  names("decoder", {{"type", "ByteLevel"}}, "the pre_tokenizer has no ByteLevel");
  names("decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "Fuse"}}, {{"type", "ByteLevel"}}}}},
        "expected it first");
  names("post_processor",
        {{"type", "TemplateProcessing"},
         {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"SpecialToken", {{"id", "<t>"}}}}}}},
        "two tokens");
}

}  // namespace
}  // namespace kvlab
