// Rows of two runs on the same tokens, and refusals where they are not the same.
#include "results/row_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/comparison_json.h"
#include "support/damage.h"
#include "support/stored_samples.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::stored_comparison;
using testing::StoredOptions;

StoredRun stored(const StoredOptions& options) {
  TempFolder folder;
  write_comparison(stored_comparison(options), folder.path());
  return read_stored_run(folder.path());
}

TEST(RequireSameTokens, NamesBothHashesAndBothData) {
  const StoredRun a = stored({});
  require_same_tokens(a, stored({.data = "elsewhere/the_same.jsonl"}));
  const StoredRun other = stored({.token_set = "fedcba9876543210", .data = "other.jsonl"});
  EXPECT_THAT(error_text([&] { require_same_tokens(a, other); }),
              AllOf(HasSubstr("0123456789abcdef (data.jsonl)"), HasSubstr("fedcba9876543210 (other.jsonl)"),
                    HasSubstr("run both over the same data")));
}

TEST(RequireSameModel, ByHashElseByNames) {
  const StoredRun a = stored({});
  require_same_model(a, stored({.model = "renamed", .model_path = "moved/renamed.gguf"}));
  EXPECT_THAT(error_text([&] { require_same_model(a, stored({.model_hash = "2222222222222222"})); }),
              AllOf(HasSubstr("1111111111111111"), HasSubstr("2222222222222222"),
                    HasSubstr("--allow-different-models")));
  require_same_model(a, stored({.model_path = "moved/tiny.gguf", .model_hash = ""}));
  EXPECT_THAT(
      error_text([&] { require_same_model(a, stored({.model_path = "tiny-q4.gguf", .model_hash = ""})); }),
      HasSubstr("no hash recorded"));
}

TEST(DifferingSettings, OnlyWhatBothRecorded) {
  EXPECT_THAT(differing_settings(stored({}), stored({.data = "x", .model_hash = "", .dtype = "bf16"})),
              ElementsAre("dtype: \"f32\" | \"bf16\""));
}

TEST(RowDifference, IsPairedByDocument) {
  const StoredRun a = stored({}), b = stored({.knorm = 3.3});
  const RowDifference d = row_difference(a.rows[1], b.rows[1]);
  EXPECT_EQ(d.documents, 12);
  EXPECT_EQ(d.tokens, 12 * 178);
  EXPECT_NEAR(d.delta_nll, 0.1, 1e-12) << "b minus a";
  EXPECT_NEAR(d.nll_b - d.nll_a, d.delta_nll, 1e-12);
  ASSERT_TRUE(d.interval);
  EXPECT_EQ(d.interval->method, "t over 12 documents");
  EXPECT_NEAR(d.interval->inference.ci95.low, 0.1, 1e-9) << "what documents have in common cancels";
  EXPECT_LT(d.interval->inference.p, 1e-6);
}

TEST(RowDifference, WithinOneRun) {
  const StoredRun run = stored({});
  EXPECT_NEAR(row_difference(run.rows[2], run.rows[1]).delta_nll, 3.2 - 3.5, 1e-12);
  EXPECT_EQ(row_difference(run.rows[1], run.rows[1]).interval->inference.p, 1);
}

TEST(RowDifference, OfFewDocumentsByBlocks) {
  const StoredRun a = stored({.documents = 5}), b = stored({.documents = 5, .knorm = 3.3});
  EXPECT_EQ(row_difference(a.rows[1], b.rows[1]).interval->method, "block bootstrap within these documents");
  const StoredRun two = stored({.documents = 2});
  EXPECT_FALSE(row_difference(two.rows[0], two.rows[1]).interval) << "four blocks";
}

TEST(RowDifference, OfAnInterruptedRunOnWhatBothHave) {
  const StoredRun whole = stored({}), part = stored({.documents = 3});
  EXPECT_EQ(row_difference(whole.rows[0], part.rows[1]).documents, 3);
  EXPECT_THAT(error_text([&] { row_difference(whole.rows[0], whole.rows[3]); }),
              HasSubstr("no scored token"));
}

TEST(RowDifference, DocumentsThatDoNotFit) {
  const StoredRun a = stored({});
  StoredRun b = a;
  b.rows[1].documents[4].blocks[1].tokens = 49;
  EXPECT_THAT(error_text([&] { row_difference(a.rows[1], b.rows[1]); }), HasSubstr("'doc 4'"));
}

}  // namespace
}  // namespace kvlab
