#include "evals/ids_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// What reading `content` is refused with.
std::string refusal(const std::string& content) {
  const TempFolder folder;
  const std::string path = folder.write("ids.json", content);
  try {
    read_ids_file(path);
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path), Not(HasSubstr("json.exception")))) << content;
    return error.what();
  }
  return "taken";
}

TEST(IdsFile, ReadsAnArrayOrAnObjectWithTokens) {
  const TempFolder folder;
  const std::string array = folder.write("array.json", "[1, 0, 2147483647]\n");
  EXPECT_THAT(read_ids_file(array).ids, ElementsAre(1, 0, 2147483647));
  EXPECT_EQ(read_ids_file(array).id, array);
  EXPECT_THAT(read_ids_file(folder.write("object.json", R"({"tokens": [5], "x": 1})")).ids, ElementsAre(5));
}

TEST(IdsFile, SaysWhatIsWrongWhere) {
  EXPECT_THAT(refusal(""), HasSubstr("is empty"));
  EXPECT_THAT(refusal("[1, 2"), HasSubstr("bad JSON at byte 6: "));
  EXPECT_THAT(refusal("[1, 1e999]"), HasSubstr("bad JSON: number overflow"));
  EXPECT_THAT(refusal("5"), HasSubstr("expected a JSON array of token ids, or an object with the array "
                                      "'tokens', found 5"));
  EXPECT_THAT(refusal(R"({"ids": [1]})"), HasSubstr("found no 'tokens'"));
  EXPECT_THAT(refusal(R"({"tokens": "1 2"})"), HasSubstr("'tokens' is \"1 2\""));
  EXPECT_THAT(refusal("[]"), HasSubstr("no token ids"));
  for (const char* id : {"-1", "1.5", "\"1\"", "null", "2147483648", "4294967297"}) {
    EXPECT_THAT(refusal("[7, " + std::string(id) + "]"),
                HasSubstr("element 1 is " + std::string(id) +
                          " (expected a token id, a whole number 0..2147483647)"));
  }
  EXPECT_THAT(refusal("[[1]]"), HasSubstr("element 0 is an array"));
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("values nested more than 100 deep"));
  try {
    read_ids_file("/no/such/ids.json");
    FAIL() << "a file that is not there was read";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("/no/such/ids.json: cannot be read"));
  }
}

}  // namespace
}  // namespace kvlab
