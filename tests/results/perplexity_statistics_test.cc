#include "results/perplexity_statistics.h"

#include <gtest/gtest.h>

#include "results/perplexity_csv.h"

namespace kvlab {
namespace {

// A window of `blocks` full blocks with the given ΔNLL per token, give or take a little that differs by
// block.
DocumentResult window_of(const std::string& document, int blocks, double delta, double wobble) {
  DocumentResult window;
  window.id = document;
  window.tokens = kBlockTokens * blocks + 1;
  for (int b = 0; b < blocks; ++b) {
    window.block_tokens.push_back(kBlockTokens);
    window.delta_blocks.push_back((delta + wobble * (b % 3 - 1)) * kBlockTokens);
    window.delta_nll_sum += window.delta_blocks.back();
    window.tokens_scored += kBlockTokens;
  }
  window.nll_sum = 3.0 * static_cast<double>(window.tokens_scored) + window.delta_nll_sum;
  window.seconds = 2;
  return window;
}

// `windows` windows of `documents` documents, one after the other.
PerplexityRow row_of(const std::string& method, double ratio, double delta, int windows, int documents,
                     int blocks = 3) {
  PerplexityRow row;
  row.method = row.result.name = method;
  row.ratio = ratio;
  for (int w = 0; w < windows; ++w) {
    row.result.documents.push_back(
        window_of("d" + std::to_string(w * documents / windows), blocks, delta + 0.001 * (w % 4), 0.02));
    row.windows.push_back({0, 1, 10, 9});
  }
  return row;
}

std::string method_of(const PerplexityRow& row) {
  const auto interval = window_intervals(row);
  return interval ? interval->method : "none";
}

TEST(WindowIntervals, DocumentsThenWindowsThenBlocks) {
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 24, 12)), "t over 12 documents");
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 12, 2)), "t over 12 windows of 2 documents");
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 10, 1)), "t over 10 windows of 1 document");
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 4, 1)), "block bootstrap within these documents");
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 2, 1)), "none") << "six blocks";
}

TEST(WindowIntervals, WindowsOfASingleBlockAreExchangedWithinTheirDocument) {
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 9, 1, 1)), "block bootstrap within these documents");
  EXPECT_EQ(method_of(row_of("a", 0.5, 0.1, 9, 9, 1)), "none");
}

TEST(WindowIntervals, HoldTheMean) {
  for (const int windows : {4, 12}) {
    const PerplexityRow row = row_of("a", 0.5, 0.1, windows, 1);
    const Interval ci95 = window_intervals(row)->delta_nll.ci95;
    EXPECT_LT(ci95.low, 0.1015);
    EXPECT_GT(ci95.high, 0.1015);
    EXPECT_GT(ci95.low, 0.08);
    EXPECT_LT(ci95.high, 0.12);
  }
}

TEST(WindowIntervals, NoneForBaselinesAndInertRows) {
  PerplexityRow row = row_of("a", 0.5, 0.1, 12, 1);
  row.result.reference = true;
  EXPECT_EQ(method_of(row), "none");
  row.result.reference = false;
  row.result.status = Status::kInert;
  EXPECT_EQ(method_of(row), "none");
}

TEST(WindowIntervals, SeedsAreAveragedFirst) {
  const PerplexityRow mean = row_of("random", 0.5, 0.1, 12, 1);
  PerplexityRow row = mean;
  MethodResult more = mean.result, less = mean.result;
  for (int w = 0; w < 12; ++w) {
    const double shift = w % 2 ? 50 : -50;
    more.documents[static_cast<size_t>(w)].delta_blocks[0] += shift;
    less.documents[static_cast<size_t>(w)].delta_blocks[0] -= shift;
  }
  row.windows.insert(row.windows.end(), mean.windows.begin(), mean.windows.end());
  row.result = merge_seeds({more, less});
  EXPECT_NEAR(window_intervals(row)->delta_nll.ci95.high, window_intervals(mean)->delta_nll.ci95.high, 1e-12);
  EXPECT_EQ(runs_of(row).size(), 2u);
  EXPECT_EQ(runtime_seconds(row), 24) << "the mean of the runs";
  EXPECT_EQ(tokens_differing(row), 120);
  EXPECT_EQ(perplexity_row_json(row).at("seeds"), 2);
  const std::string csv = perplexity_csv(row);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 25);
}

TEST(RatioSteps, NeighboursAndHalfAgainstNineTenths) {
  PerplexityResult result;
  PerplexityRow baseline = row_of("baseline", 0, 0, 4, 1);
  baseline.result.reference = true;
  result.rows = {baseline, row_of("knorm", 0.9, 0.7, 4, 1), row_of("knorm", 0.5, 0.2, 4, 1),
                 row_of("knorm", 0.75, 0.4, 4, 1), row_of("h2o", 0.5, 0.1, 4, 1)};
  PerplexityRow own = row_of("h2o(size=9)", 0.5, 0.1, 4, 1);
  own.ratio.reset();
  PerplexityRow failed = row_of("h2o", 0.9, 0.1, 4, 1);
  failed.result.status = Status::kFailed;
  failed.result.documents.clear();
  failed.windows.clear();
  result.rows.push_back(own);
  result.rows.push_back(failed);
  const std::vector<RatioStep> steps = ratio_steps(result);
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].from, 0.5);
  EXPECT_EQ(steps[0].to, 0.75);
  EXPECT_NEAR(steps[0].delta_nll, 0.2, 1e-12);
  EXPECT_EQ(steps[2].from, 0.5);
  EXPECT_EQ(steps[2].to, 0.9);
  EXPECT_NEAR(steps[2].delta_nll, 0.5, 1e-12);
  // Paired: what both ratios do to a block alike is in neither end.
  ASSERT_TRUE(steps[2].interval);
  EXPECT_NEAR(steps[2].interval->delta_nll.ci95.low, 0.5, 1e-9);
  EXPECT_NE(ratio_steps_csv(result).find("knorm,0.5,0.9,0.5"), std::string::npos);
}

TEST(RuntimeInterval, OverWindows) {
  PerplexityRow row = row_of("knorm", 0.5, 0.1, 4, 1);
  EXPECT_NEAR(runtime_interval(row)->low, 8, 1e-9);
  row.result.documents[0].seconds = 4;
  EXPECT_LT(runtime_interval(row)->low, 10);
  EXPECT_GT(runtime_interval(row)->high, 10);
  EXPECT_FALSE(runtime_interval(row_of("knorm", 0.5, 0.1, 2, 1)));
}

TEST(PerplexitySummaryCsv, ALinePerRow) {
  PerplexityResult result;
  result.rows = {row_of("knorm", 0.5, 0.1, 4, 1)};
  result.rows[0].result.recipe = "knorm(keep=0.5,window=4)";
  const std::string csv = perplexity_summary_csv(result);
  EXPECT_EQ(csv.find("method,compression_ratio,status,"), 0u);
  EXPECT_NE(csv.find("\nknorm,0.5,OK,,"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",block bootstrap within these documents,\"knorm(keep=0.5,window=4)\"\n"),
            std::string::npos);
}

}  // namespace
}  // namespace kvlab
