#include "base/utf8_check.h"

#include <gtest/gtest.h>

namespace kvlab {
namespace {

TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_EQ(first_invalid_utf8(""), std::string::npos);
  EXPECT_EQ(first_invalid_utf8("plain, and long enough for the fast path"), std::string::npos);
  EXPECT_EQ(first_invalid_utf8("ä€😀"), std::string::npos);
  EXPECT_EQ(first_invalid_utf8("twelve bytes\xff"), 12u);
  EXPECT_EQ(first_invalid_utf8("a\x80"), 1u) << "a continuation without a start";
  EXPECT_EQ(first_invalid_utf8("a\xc3"), 1u) << "cut off";
  EXPECT_EQ(first_invalid_utf8("a\xe2\x82"), 1u) << "cut off";
  EXPECT_EQ(first_invalid_utf8("\xc0\xaf"), 0u) << "overlong";
  EXPECT_EQ(first_invalid_utf8("\xed\xa0\x80"), 0u) << "a surrogate";
  EXPECT_EQ(first_invalid_utf8("\xf4\x90\x80\x80"), 0u) << "past U+10FFFF";
}

TEST(Utf8, RepairsAndMeasures) {
  EXPECT_EQ(with_valid_utf8("a\xff"
                            "b\xc3"),
            "a?b?");
  EXPECT_EQ(display_width("ΔNLL ±"), 6u);
}

}  // namespace
}  // namespace kvlab
