// Numbers about entries from a file: shapes, documents, and everything that can be wrong.
#include "format/entry_table.h"

#include <gmock/gmock.h>

#include "format/safetensors.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> counting(int64_t n) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(i));
  return values;
}

class EntryTableTest : public ::testing::Test {
 protected:
  std::string file(const std::vector<NamedTensor>& tensors) const {
    write_safetensors(path_, tensors);
    return path_;
  }
  // What is said when a table for 2 layers of 3 heads is read and document 0 asked for 4 tokens.
  std::string refusal(const std::vector<NamedTensor>& tensors) const {
    return testing::error_text([&] { EntryTable(file(tensors), "s", 2, 3).row(0, 0, 0, 4); });
  }
  TempFolder folder_;
  const std::string path_ = (folder_.path() / "t.safetensors").string();
};

TEST_F(EntryTableTest, ThreeShapes) {
  const EntryTable whole(file({{"s", {2, 3, 4}, counting(24)}}), "s", 2, 3);
  EXPECT_THAT(whole.row(0, 1, 2, 4), ElementsAre(20, 21, 22, 23));
  const EntryTable by_layer(file({{"s", {2, 4}, counting(8)}}), "s", 2, 3);
  EXPECT_THAT(by_layer.row(0, 1, 2, 3), ElementsAre(4, 5, 6, 7));
  const EntryTable for_all(file({{"s", {4}, counting(4)}}), "s", 2, 3);
  EXPECT_THAT(for_all.row(0, 1, 2, 1), ElementsAre(0, 1, 2, 3));
}

TEST_F(EntryTableTest, DocumentsByName) {
  const EntryTable table(file({{"s.0", {4}, counting(4)},
                               {"s.12", {4}, {7, 7, 7, 7}},
                               {"s.x", {1}, {0}},
                               {"other", {9, 9}, counting(81)}}),
                         "s", 2, 3);
  EXPECT_THAT(table.row(0, 0, 0, 4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(table.row(12, 0, 0, 4), ElementsAre(7, 7, 7, 7));
  EXPECT_THAT(testing::error_text([&] { table.row(3, 0, 0, 4); }),
              AllOf(HasSubstr(path_), HasSubstr("no tensor 's.3'")));
}

TEST_F(EntryTableTest, MistakesNameFileTensorAndSizes) {
  EXPECT_THAT(refusal({{"t", {4}, counting(4)}}), AllOf(HasSubstr(path_), HasSubstr("no tensor 's'")));
  EXPECT_THAT(
      refusal({{"s", {2, 2, 4}, counting(16)}}),
      AllOf(HasSubstr(path_), HasSubstr("tensor 's' has shape [2, 2, 4]"), HasSubstr("[2, 3, tokens]")));
  EXPECT_THAT(refusal({{"s", {3, 4}, counting(12)}}), HasSubstr("has shape [3, 4]"));
  EXPECT_THAT(refusal({{"s", {3}, counting(3)}}),
              AllOf(HasSubstr(path_), HasSubstr("'s' has 3 tokens, document 0 has at least 4")));
  EXPECT_THAT(refusal({{"s", {4}, counting(4)}, {"s.0", {4}, counting(4)}}),
              HasSubstr("are both about document 0"));
  EXPECT_EQ(refusal({{"s", {4}, counting(4)}}), "");
}

TEST_F(EntryTableTest, ChecksNameThePlace) {
  const EntryTable table(file({{"s", {2, 3, 4}, counting(24)}}), "s", 2, 3);
  const auto refuse_17 = [](float value, int64_t) { return std::string(value == 17 ? "is 17" : ""); };
  EXPECT_EQ(testing::error_text([&] { table.check_all(refuse_17); }),
            path_ + ": tensor 's', layer 1, head 1, token 1 is 17");
  EXPECT_EQ(testing::error_text([&] { table.check_all([](float, int64_t) { return std::string(); }); }), "");
}

}  // namespace
}  // namespace kvlab
