#include "results/comparison_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "results/atomic_file.h"
#include "support/comparison_samples.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using nlohmann::ordered_json;

TEST(ComparisonJson, EveryRowHasEveryKey) {
  const ordered_json summary = comparison_summary_json(sample_comparison());
  ASSERT_EQ(summary["methods"].size(), 4u);
  EXPECT_EQ(summary["methods"][0]["name"], "Baseline");
  for (const ordered_json& row : summary["methods"]) {
    for (const char* key : {"name",
                            "recipe",
                            "status",
                            "reason",
                            "ppl",
                            "nll",
                            "delta_nll",
                            "delta_ppl",
                            "delta_ppl_percent",
                            "delta_nll_ci95",
                            "kl_mean",
                            "top1_agreement",
                            "density",
                            "density_outside_window",
                            "density_compressible",
                            "density_seen",
                            "effective_window",
                            "kv_bytes",
                            "kv_bytes_seen",
                            "kv_bytes_baseline",
                            "tokens_scored",
                            "tokens_touched",
                            "delta_nll_touched",
                            "long_range_tokens",
                            "delta_nll_long_range",
                            "delta_nll_long_range_ci95",
                            "long_range_ci_method",
                            "long_range_control_family",
                            "tokens_per_second",
                            "forced_evictions"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
  }
  EXPECT_TRUE(summary["methods"][0]["delta_nll_ci95"].is_null());
  EXPECT_EQ(summary["methods"][0]["delta_ppl"], 0.0);
  EXPECT_EQ(summary["methods"][3]["status"], "SKIPPED");
  EXPECT_TRUE(summary["methods"][3]["ppl"].is_null());
  EXPECT_TRUE(summary["methods"][1]["kv_bytes"].is_number_integer());
  EXPECT_EQ(summary["methods"][2]["seeds"], 2);
}

TEST(ComparisonJson, DetailsHoldDocumentsAndTokenLosses) {
  ComparisonResult result = sample_comparison();
  result.methods[1].documents[0].token_nll = {0.1f, 2.5f};
  const ordered_json details = detailed_results_json(result);
  const ordered_json& document = details["methods"][1]["documents"][0];
  EXPECT_EQ(document["token_nll"].dump(), "[0.1,2.5]") << "no longer than a float's digits";
  EXPECT_EQ(document["entries"]["kept"], 132 * 30);
  EXPECT_TRUE(details["methods"][0]["documents"][0]["token_nll"].is_null());
  EXPECT_EQ(details["methods"][2]["seed_results"].size(), 2u);
  EXPECT_EQ(details["methods"][2]["seed_results"][1]["documents"].size(), 1u);
}

TEST(ComparisonJson, ControlOfTheLongRangeTokens) {
  ComparisonResult result = sample_comparison();
  EXPECT_TRUE(comparison_summary_json(result)["long_range_control"].is_null());
  EXPECT_TRUE(comparison_summary_json(result)["methods"][1]["long_range_tokens"].is_null());
  result.long_range = LongRangeControl{"streaming_llm(size=132)", 0.5, 1000, 40, 125, 60, 1024, 132};
  ordered_json control = comparison_summary_json(result)["long_range_control"];
  EXPECT_EQ(control["tokens"], 40);
  EXPECT_EQ(control["delta_nll"], 0.125);
  EXPECT_EQ(control["delta_nll_long_range"], 1.5);
  EXPECT_TRUE(control["note"].is_null());
  EXPECT_EQ(comparison_summary_json(result)["methods"][1]["long_range_tokens"], 0);
  result.long_range->tokens_chosen = 0;
  control = detailed_results_json(result)["long_range_control"];
  EXPECT_TRUE(control["delta_nll_long_range"].is_null());
  EXPECT_THAT(control["note"].get<std::string>(), testing::HasSubstr("no scored token loses that much"));
  result.long_range->longest_document = 132;
  control = detailed_results_json(result)["long_range_control"];
  EXPECT_THAT(control["note"].get<std::string>(), testing::HasSubstr("no document is longer than the 132"));
}

TEST(ComparisonJson, WritesBothFilesAndNothingElse) {
  TempFolder folder;
  ComparisonResult result = sample_comparison();
  result.methods[1].name = "bad \xff name";
  write_comparison(result, folder.path() / "a" / "b");
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "a" / "b")) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("comparison_summary.json", "detailed_results.json"));
  EXPECT_EQ(ordered_json::parse(folder.read("a/b/comparison_summary.json"))["methods"].size(), 4u);
}

TEST(AtomicFile, KeepsTheOldFileWhenItCannotWrite) {
  TempFolder folder;
  const auto path = folder.write("file", "old");
  EXPECT_THROW(write_atomically(path / "below_a_file", "new"), UserError);
  EXPECT_EQ(folder.read("file"), "old");
  write_atomically(path, "new");
  EXPECT_EQ(folder.read("file"), "new");
  std::filesystem::create_directories(folder.path() / "taken" / "inside");
  EXPECT_THROW(write_atomically(folder.path() / "taken", "new"), UserError);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2) << "no leftovers";
}

}  // namespace
}  // namespace kvlab
