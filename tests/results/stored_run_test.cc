// Results read back, and whatever is wrong with them.
#include "results/stored_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "results/comparison_json.h"
#include "results/row_difference.h"
#include "support/damage.h"
#include "support/stored_samples.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;
using testing::stored_comparison;

class StoredRuns : public ::testing::Test {
 protected:
  // The refusal of `detailed_results.json` with `from` replaced by `to`.
  std::string refusal(const std::string& from, const std::string& to) {
    write_comparison(stored_comparison({}), folder_.path());
    std::string text = folder_.read("detailed_results.json");
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    folder_.write("detailed_results.json", text.replace(at, from.size(), to));
    return error_text([&] { read_stored_run(folder_.path()); });
  }

  TempFolder folder_;
};

TEST_F(StoredRuns, ComeBackFromFolderAndFile) {
  write_comparison(stored_comparison({}), folder_.path());
  for (const char* name : {"", "detailed_results.json", "comparison_summary.json"}) {
    const StoredRun run = read_stored_run(*name ? folder_.path() / name : folder_.path());
    EXPECT_EQ(run.file, folder_.path() / "detailed_results.json");
    EXPECT_EQ(run.token_set, "0123456789abcdef");
    ASSERT_EQ(run.rows.size(), 4u);
    EXPECT_EQ(run.rows[1].recipe, "knorm(keep=0.5,sinks=0,every=1)");
    ASSERT_EQ(run.rows[1].documents.size(), 12u);
    EXPECT_EQ(run.rows[1].documents[2].index, 2);
    ASSERT_EQ(run.rows[1].documents[2].blocks.size(), 2u);
    EXPECT_EQ(run.rows[1].documents[2].blocks[1].tokens, 50);
    EXPECT_DOUBLE_EQ(run.rows[1].documents[2].blocks[1].sum, 50 * 3.2);
    EXPECT_TRUE(run.rows[3].documents.empty()) << "skipped";
  }
}

TEST_F(StoredRuns, SeedsAreAveraged) {
  write_comparison(stored_comparison({}), folder_.path());
  const StoredRun run = read_stored_run(folder_.path());
  EXPECT_NEAR(run.rows[2].documents[1].blocks[0].sum, 128 * 3.5, 1e-9) << "of 3.4 and 3.6";
}

TEST_F(StoredRuns, WhatIsNotThere) {
  EXPECT_THAT(error_text([&] { read_stored_run(folder_.path() / "nowhere"); }), HasSubstr("no such file"));
  EXPECT_THAT(error_text([&] { read_stored_run(folder_.path()); }), HasSubstr("no detailed_results.json"));
  folder_.write("ppl_summary.json", "{}");
  EXPECT_THAT(error_text([&] { read_stored_run(folder_.path()); }),
              AllOf(HasSubstr("`kvlab ppl`"), HasSubstr("run `kvlab compare`")));
}

TEST_F(StoredRuns, Damage) {
  EXPECT_THAT(refusal("{", ""), AllOf(HasSubstr("detailed_results.json"), HasSubstr("parse error")));
  EXPECT_THAT(refusal("\"token_set\"", "\"tokens\""), HasSubstr("token_set"));
  EXPECT_THAT(refusal("\"nll_blocks\":[", "\"nll_blocks\":[1,"), HasSubstr("'doc 0': block_tokens"));
  EXPECT_THAT(refusal("\"block_tokens\":[128", "\"block_tokens\":[127"), HasSubstr("178 scored tokens"));
  EXPECT_THAT(refusal("\"block_tokens\":[128", "\"block_tokens\":[\"x\""), HasSubstr("number"));
  EXPECT_THAT(refusal("\"methods\":[", "\"methods\":[7,"), HasSubstr("detailed_results.json"));
}

}  // namespace
}  // namespace kvlab
