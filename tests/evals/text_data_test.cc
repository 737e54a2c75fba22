#include "evals/text_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr const char* kWikitext = " \n = Title = \n \n One . \n Two . \n";

TEST(TextData, JoinsRowsAsPublishedProtocolsDo) {
  EXPECT_EQ(join_rows(kWikitext, Join::kRaw), kWikitext);
  EXPECT_EQ(join_rows(kWikitext, Join::kWikitext), " = Title = \n\n\n One . \n\n\n Two . \n");
  // "\n\n".join(["", " = Title = \n", "", " One . \n", " Two . \n"])
  EXPECT_EQ(join_rows(kWikitext, Join::kGptq), "\n\n = Title = \n\n\n\n\n One . \n\n\n Two . \n");
  EXPECT_EQ(join_rows("last row", Join::kWikitext), "last row");
  EXPECT_THAT([] { parse_join("lines"); }, ThrowsMessage<UserError>(HasSubstr("--join lines")));
}

TEST(TextData, FoldersAreBooksSortedByName) {
  TempFolder folder;
  folder.write("b.txt", "second");
  folder.write("a.txt", "first");
  folder.write(".hidden.txt", "no");
  folder.write("cover.png", "no");
  const auto books = read_text_data(folder.path(), {});
  ASSERT_EQ(books.size(), 2u);
  EXPECT_EQ(books[0].text, "first");
  EXPECT_EQ(books[1].id, "b.txt");
  EXPECT_EQ(books[1].index, 1);
  EXPECT_EQ(read_text_data(folder.path(), {{.max_samples = 1}}).size(), 1u);
  EXPECT_EQ(joined(books).text, "first\n\nsecond");
}

TEST(TextData, IdsAndMasksAreJoinedInOrder) {
  TempFolder folder;
  const auto path = folder.write("d.jsonl", "{\"ids\": [1, 2], \"m\": [1, 0]}\n{\"ids\": [3], \"m\": [1]}\n");
  const Document all = joined(read_text_data(path, {{"", "ids", "m", 0}}));
  EXPECT_THAT(all.ids, testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(*all.mask, testing::ElementsAre(1, 0, 1));
}

TEST(TextData, RefusesFoldersWithoutTextAndJoinsOfJsonl) {
  TempFolder folder;
  EXPECT_THAT([&] { read_text_data(folder.path(), {}); },
              ThrowsMessage<UserError>(HasSubstr("holds no text files")));
  const auto path = folder.write("d.jsonl", "{\"text\": \"one\"}\n");
  EXPECT_THAT(
      [&] {
        read_text_data(path, {{}, Join::kWikitext});
      },
      ThrowsMessage<UserError>(HasSubstr("--join needs plain text")));
}

}  // namespace
}  // namespace kvlab
