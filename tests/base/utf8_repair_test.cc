// Text in pieces: characters come whole, broken ones become U+FFFD as Python's errors="replace" has it.
#include "base/utf8_repair.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/utf8_check.h"

namespace kvlab {
namespace {

const std::string kBroken = "\xEF\xBF\xBD";

std::string in_pieces(const std::string& bytes, size_t size) {
  Utf8Repair repair;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += size) {
    const std::string piece = repair.push(std::string_view(bytes).substr(at, size));
    EXPECT_EQ(first_invalid_utf8(piece), std::string::npos);
    out += piece;
  }
  return out + repair.finish();
}

TEST(Utf8Repair, HoldsBackHalfACharacter) {
  Utf8Repair repair;
  EXPECT_EQ(repair.push("a\xF0\x9F"), "a");
  EXPECT_EQ(repair.push("\x98"), "");
  EXPECT_EQ(repair.push("\x80z"), "\xF0\x9F\x98\x80z");
  EXPECT_EQ(repair.finish(), "");
}

TEST(Utf8Repair, WholeTextIsUntouchedHoweverItIsCut) {
  const std::string text = "na\u00EFve \u2014 \u4E2D\u6587 \U0001F600 \uFFFD end";
  for (size_t size = 1; size <= text.size(); ++size) EXPECT_EQ(in_pieces(text, size), text) << size;
}

TEST(Utf8Repair, BrokenTextGivesTheSameHoweverItIsCut) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\xFFz", "a" + kBroken + "z"},
      {"\x80\x80", kBroken + kBroken},
      {"\xC0\xAF", kBroken + kBroken},                              // overlong
      {"\xED\xA0\x80", kBroken + kBroken + kBroken},                // a surrogate
      {"\xF4\x90\x80\x80", kBroken + kBroken + kBroken + kBroken},  // past U+10FFFF
      {"\xE2\x82z", kBroken + "z"},                                 // broken off by a letter
      {"\xF0\x9F\x98\xC3\xA9", kBroken + "\u00E9"},                 // and by another character
      {"end\xF0\x9F\x98", "end" + kBroken},
      {"end\xC3", "end" + kBroken},
  };
  for (const auto& [bytes, expected] : cases) {
    for (size_t size = 1; size <= bytes.size(); ++size) EXPECT_EQ(in_pieces(bytes, size), expected) << size;
  }
}

}  // namespace
}  // namespace kvlab
