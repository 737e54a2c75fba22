// Sizes of memory as people write them.
#include "base/byte_size.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

int64_t bytes_of(const std::string& text) {
  return parse_byte_size("--memory", text);
}

TEST(ByteSize, UnitsAndPlainBytes) {
  EXPECT_EQ(bytes_of("1"), 1);
  EXPECT_EQ(bytes_of("2147483648"), int64_t{1} << 31);
  EXPECT_EQ(bytes_of("12B"), 12);
  EXPECT_EQ(bytes_of("3KiB"), 3 * 1024);
  EXPECT_EQ(bytes_of("512MiB"), int64_t{512} << 20);
  EXPECT_EQ(bytes_of("2GiB"), int64_t{2} << 30);
  EXPECT_EQ(bytes_of("2 gib"), int64_t{2} << 30);
  EXPECT_EQ(bytes_of("1.5GiB"), int64_t{3} << 29);
  EXPECT_EQ(bytes_of("1TiB"), int64_t{1} << 40);
}

TEST(ByteSize, RefusesWhatIsNoSize) {
  for (const char* text :
       {"",       " ",      "0",   "0GiB", "-1",  "-2GiB", "GiB",         "2GB", "2G",   "2GiBs",
        "2GiB 3", "1,5GiB", "2e9", "nan",  "inf", "1e999", "99999999TiB", "0.5", "0x10", "two"}) {
    try {
      ADD_FAILURE() << text << " gave " << bytes_of(text);
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("--memory '" + std::string(text) + "'"), HasSubstr("512MiB"),
                                      HasSubstr("2GiB")));
    }
  }
}

TEST(ByteSize, TextsAreShortAndNeverLess) {
  EXPECT_EQ(byte_size_text(int64_t{2} << 30), "2GiB");
  EXPECT_EQ(byte_size_text(int64_t{512} << 20), "512MiB");
  EXPECT_EQ(byte_size_text(1000), "1000B");
  EXPECT_EQ(byte_size_text(1024), "1KiB");
  EXPECT_EQ(byte_size_text(1536), "1.5KiB");
  EXPECT_EQ(byte_size_text(1), "1B");
  for (int64_t bytes = 1; bytes < int64_t{1} << 50; bytes = bytes * 7 / 5 + 1) {
    const int64_t read = bytes_of(byte_size_text(bytes));
    EXPECT_GE(read, bytes) << byte_size_text(bytes);
    EXPECT_LE(static_cast<double>(read), 1.01 * static_cast<double>(bytes)) << byte_size_text(bytes);
  }
}

}  // namespace
}  // namespace kvlab
