#include "results/perplexity_record.h"

#include <gtest/gtest.h>

#include "results/perplexity_csv.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

PerplexityRow sample_row() {
  PerplexityRow row;
  row.method = "knorm";
  row.ratio = 0.5;
  row.result.name = "Knorm";
  row.setup_seconds = 2;
  DocumentResult window;
  window.id = "a \"b\", c";
  window.tokens = 5;
  window.tokens_scored = 4;
  window.tokens_touched = 2;
  window.nll_sum = 8;
  window.delta_nll_sum = 1;
  window.seconds = 0.5;
  row.result.documents = {window};
  row.windows = {{7, 0.25, 3, 2}};
  add_loss(row.buckets, 5, 8);
  return row;
}

TEST(PerplexityRecord, FolderNamesAreSafeAndSeparable) {
  EXPECT_EQ(folder_part("SmolLM2 135M Instruct"), "SmolLM2_135M_Instruct");
  EXPECT_EQ(folder_part("streaming_llm(sinks=4,window=128)"), "streaming_llm_sinks_4_window_128");
  EXPECT_EQ(folder_part("a__b/../c"), "a_b_.._c");
  EXPECT_EQ(folder_part("../.."), "unnamed");
  EXPECT_EQ(folder_part(".."), "unnamed");
  EXPECT_EQ(folder_part(""), "unnamed");
  EXPECT_EQ(folder_part("日本"), "unnamed");
  EXPECT_EQ(folder_part(std::string(300, 'x')).size(), 60u);
  PerplexityRow row = sample_row();
  EXPECT_EQ(row_folder("wiki.test", "m", row), "wiki.test__m__knorm__0.5");
  row.ratio.reset();
  EXPECT_EQ(row_folder("wiki.test", "m", row), "wiki.test__m__knorm__own");
}

TEST(PerplexityRecord, WritesALinePerWindow) {
  const std::string csv = perplexity_csv(sample_row());
  EXPECT_NE(csv.find("\n0,\"a \"\"b\"\", c\",7,5,4,2,7.38905"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",0.25,2,3,0,0.250000,0.500000,\n"), std::string::npos) << csv;
  PerplexityRow inert = sample_row();
  inert.result.status = Status::kInert;
  EXPECT_NE(perplexity_csv(inert).find(",,2,3,0,"), std::string::npos);
}

TEST(PerplexityRecord, WritesTheRowAsJson) {
  TempFolder folder;
  write_perplexity_row(sample_row(), {{"dataset", "d"}}, {{"cpu", "c"}}, folder.path() / "row");
  const auto json = nlohmann::json::parse(folder.read("row/ppl.json"));
  EXPECT_EQ(json.at("config").at("dataset"), "d");
  const auto& summary = json.at("summary");
  EXPECT_EQ(summary.at("nll"), 2.0);
  EXPECT_EQ(summary.at("tokens_touched"), 2);
  EXPECT_EQ(summary.at("tokens_differing"), 3);
  EXPECT_EQ(summary.at("touched_differing"), 2);
  EXPECT_TRUE(summary.at("seeds").is_null());
  EXPECT_TRUE(summary.at("delta_nll_ci95").is_null());
  EXPECT_EQ(summary.at("total_runtime_sec"), 2.5);
  EXPECT_EQ(summary.at("prefill_seconds"), 0.25);
  EXPECT_EQ(summary.at("loss_by_position").size(), 3u);
  EXPECT_TRUE(summary.at("loss_by_position").at(0).at("nll").is_null());
  EXPECT_EQ(summary.at("loss_by_position").at(2).at("nll"), 8.0);
}

}  // namespace
}  // namespace kvlab
