#include "base/fields.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kvlab {
namespace {

TEST(Fields, ParsesAndRefusesWithTheRange) {
  const Field sinks = int_field("sinks", int64_t{4}, 0, 64, "protected first tokens");
  EXPECT_EQ(std::get<int64_t>(sinks.parse("8", "knorm")), 8);
  try {
    sinks.parse("99", "knorm");
    FAIL() << "99 was taken";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "knorm: sinks=99 is out of range (expected integer 0..64, default 4)");
  }
  EXPECT_THROW(sinks.parse("4.5", "knorm"), UserError);
  EXPECT_THROW(sinks.parse("four", "knorm"), UserError);
  EXPECT_THROW(sinks.parse("", "knorm"), UserError);
  EXPECT_THROW(real_field("keep", {}, 0, 1, "").parse("nan", "x"), UserError);
}

TEST(Fields, WritesValuesAsTheyAreRead) {
  EXPECT_EQ(to_text(Value(0.1)), "0.1");
  EXPECT_EQ(to_text(Value(int64_t{-16})), "-16");
  EXPECT_EQ(to_text(Value(std::string("mlp"))), "mlp");
  EXPECT_EQ(to_text(Value(std::string("/a b/c"))), "\"/a b/c\"");
}

TEST(NearestName, FindsTypos) {
  const std::vector<std::string> names = {"h2o", "knorm", "streaming_llm", "tova"};
  EXPECT_EQ(nearest_name("knrom", names), "knorm");
  EXPECT_EQ(nearest_name("streamingllm", names), "streaming_llm");
  EXPECT_EQ(nearest_name("completely_else", names), "");
}

}  // namespace
}  // namespace kvlab
