// Text of tokens as they come: whole characters, no stop string, and in the end the text of all ids.
#include "engine/text_stream.h"

#include <gtest/gtest.h>

#include "engine/spelled_tokenizer.h"

namespace kvlab {
namespace {

using testing::SpelledTokenizer;

// What each token releases, and the end's text as the last.
std::vector<std::string> released(const SpelledTokenizer& tokenizer, const std::vector<std::string>& stop) {
  TextStream stream(tokenizer, stop);
  std::vector<std::string> texts;
  for (int32_t id = 0; id < tokenizer.vocab_size() && !stream.stopped(); ++id)
    texts.push_back(stream.push(id));
  texts.push_back(stream.finish());
  return texts;
}

using Texts = std::vector<std::string>;

TEST(TextStream, NeverCutsACharacter) {
  const SpelledTokenizer tokenizer({"a", "\xF0\x9F", "\x98", "\x80 b", "\xC3"});
  EXPECT_EQ(released(tokenizer, {}), (Texts{"a", "", "", "\xF0\x9F\x98\x80 b", "", "\xEF\xBF\xBD"}));
}

TEST(TextStream, LeavesSpecialTokensOut) {
  const SpelledTokenizer tokenizer({"a", "<s>", "b"}, {1});
  EXPECT_EQ(released(tokenizer, {}), (Texts{"a", "", "b", ""}));
}

TEST(TextStream, StopsAcrossTokens) {
  const SpelledTokenizer tokenizer({"one ", "T", "HE E", "ND two", "never"});
  EXPECT_EQ(released(tokenizer, {"THE END"}), (Texts{"one ", "", "", "", ""}));
}

TEST(TextStream, WhatWasNoStopStringComesLater) {
  const SpelledTokenizer tokenizer({"one ", "T", "HE E", "AR", " T"});
  EXPECT_EQ(released(tokenizer, {"THE END"}), (Texts{"one ", "", "", "THE EAR", " ", "T"}));
  // A stop string may begin inside one that fails: "aab" within "aaab".
  EXPECT_EQ(released(SpelledTokenizer({"a", "a", "a", "b"}), {"aab"}), (Texts{"", "", "a", "", ""}));
}

TEST(TextStream, TheStopStringThatIsCompleteFirstEndsTheText) {
  EXPECT_EQ(released(SpelledTokenizer({"xabcde"}), {"abcde", "cd"}), (Texts{"xab", ""}));
  EXPECT_EQ(released(SpelledTokenizer({"xabcd"}), {"cd", "abcd"}),
            (Texts{"x", ""}));  // both at once: the longer
}

TEST(TextStream, AStopStringMayHoldHalfACharacterOfATokenPair) {
  EXPECT_EQ(released(SpelledTokenizer({"a\xC3", "\xA9z"}), {"\xC3\xA9"}), (Texts{"a", "", ""}));
}

TEST(TextStream, RefusesAnEmptyStopString) {
  EXPECT_THROW(TextStream(SpelledTokenizer({}), {"a", ""}), UserError);
}

}  // namespace
}  // namespace kvlab
