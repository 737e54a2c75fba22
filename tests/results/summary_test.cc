#include "results/summary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/comparison_samples.h"

namespace kvlab {
namespace {

TEST(Summary, WeighsDocumentsByTheirTokens) {
  MethodResult method = sample_method("x", 3.0, 2.5);
  DocumentResult small;
  small.tokens = 11;
  small.tokens_scored = 10;
  small.nll_sum = 50;
  small.delta_nll_sum = 1;
  small.kv_bytes = 500000;
  small.kv_bytes_peak = 700000;
  small.kv_bytes_baseline = 2000000;
  method.documents.push_back(small);
  const MethodSummary summary = summarise(method);
  EXPECT_NEAR(*summary.nll, 3050.0 / 1010, 1e-12);
  EXPECT_NEAR(*summary.ppl, std::exp(3050.0 / 1010), 1e-12);
  EXPECT_NEAR(*summary.delta_nll, 501.0 / 1010, 1e-12);
  const double baseline_ppl = std::exp((3050.0 - 501) / 1010);
  EXPECT_NEAR(*summary.delta_ppl, *summary.ppl - baseline_ppl, 1e-9);
  EXPECT_NEAR(*summary.delta_ppl_percent, 100 * (*summary.ppl / baseline_ppl - 1), 1e-9);
  EXPECT_EQ(*summary.kv_bytes, 1000000);
  EXPECT_EQ(*summary.kv_bytes_peak, 1600000);
  EXPECT_EQ(*kv_ratio(summary), 7);
  EXPECT_NEAR(*summary.tokens_per_second, 1035 / 2.0, 1e-9);
}

TEST(Summary, GivesTheDensitiesOfTheDefinition) {
  const MethodSummary summary = summarise(sample_method("StreamingLLM", 3.1, 3.0));
  EXPECT_DOUBLE_EQ(*summary.density, 132.0 / 1024);
  EXPECT_DOUBLE_EQ(*summary.density_outside_window, 4.0 / 896);
  EXPECT_DOUBLE_EQ(*summary.density_compressible, 0);
  EXPECT_DOUBLE_EQ(*summary.density_seen, 0.25);
  EXPECT_DOUBLE_EQ(*summary.kv_bytes_seen, 2e6);
  EXPECT_FALSE(summary.density_outside_effective_window) << "its denominator is zero";
}

TEST(Summary, NothingTouchedMeansNoFigureOfTheTouched) {
  MethodResult method = sample_method("x", 3.0, 3.0);
  method.documents[0].tokens_touched = 0;
  EXPECT_FALSE(summarise(method).delta_nll_touched);
}

TEST(Summary, RowsWithoutDocumentsHaveNoFigures) {
  MethodResult failed = sample_method("x", 3.0, 3.0);
  failed.status = Status::kFailed;
  EXPECT_FALSE(summarise(failed).nll);
  EXPECT_FALSE(summarise(MethodResult{}).kv_bytes);
  MethodResult nothing_scored = sample_method("x", 3.0, 3.0);
  nothing_scored.documents[0].tokens_scored = 0;
  EXPECT_FALSE(summarise(nothing_scored).ppl);
  EXPECT_TRUE(summarise(nothing_scored).density);
}

TEST(Summary, SeedsBecomeMeanAndSpread) {
  const MethodSummary summary = summarise(sample_comparison().methods[2]);
  EXPECT_NEAR(*summary.nll, 3.3, 1e-12);
  EXPECT_NEAR(*summary.nll_spread, std::sqrt(0.02), 1e-12);
  EXPECT_NEAR(*summary.delta_nll, 0.3, 1e-12);
  EXPECT_NEAR(*summary.ppl, (std::exp(3.2) + std::exp(3.4)) / 2, 1e-9);
  EXPECT_NEAR(*summary.density, 132.0 / 1024, 1e-12);
  EXPECT_EQ(*summary.tokens_scored, 1000);
  EXPECT_FALSE(summarise(merge_seeds({sample_method("Random", 3.2, 3.0)})).nll_spread)
      << "one run has no spread";
}

TEST(Judge, NamesRowsThatDidNothing) {
  MethodResult method = sample_method("x", 3.0, 3.0);
  method.documents[0].tokens_touched = 0;
  MethodResult baseline = method;
  judge(baseline, {.acts = false, .chooses = false});
  EXPECT_EQ(baseline.status, Status::kOk);
  judge(method, {});
  EXPECT_EQ(method.status, Status::kInert);
  EXPECT_FALSE(method.reason.empty());
  const MethodSummary summary = summarise(method);
  EXPECT_TRUE(summary.nll);
  EXPECT_FALSE(summary.delta_nll || summary.delta_ppl || summary.delta_ppl_percent);
}

TEST(Judge, NamesRowsWhoseScoresDecidedNothing) {
  MethodResult method = sample_method("x", 3.0, 3.0);
  MethodResult streaming = method;
  judge(streaming, {.acts = true, .chooses = false});
  EXPECT_EQ(streaming.status, Status::kOk);
  judge(method, {});
  EXPECT_EQ(method.status, Status::kFallback);
  MethodResult one_chosen = sample_method("x", 3.0, 3.0);
  one_chosen.documents[0].forced_evictions -= 1;
  judge(one_chosen, {});
  EXPECT_EQ(one_chosen.status, Status::kOk);
}

TEST(MergeSeeds, TakesTheFirstTrouble) {
  MethodResult good = sample_method("Random", 3.0, 3.0), bad = good;
  bad.seed = 7;
  bad.status = Status::kFailed;
  bad.reason = "out of memory";
  const MethodResult merged = merge_seeds({good, bad});
  EXPECT_EQ(merged.status, Status::kFailed);
  EXPECT_EQ(merged.reason, "seed 7: out of memory");
}

TEST(MergeSeeds, OneInertRunMakesTheRowInert) {
  MethodResult good = sample_method("Random", 3.1, 3.0), inert = sample_method("Random", 3.0, 3.0);
  inert.documents[0].tokens_touched = 0;
  judge(inert, {});
  const MethodResult merged = merge_seeds({good, inert});
  EXPECT_EQ(merged.status, Status::kInert);
  EXPECT_FALSE(summarise(merged).delta_nll || summarise(merged).delta_ppl_spread);
  EXPECT_TRUE(summarise(merged).nll);
}

}  // namespace
}  // namespace kvlab
