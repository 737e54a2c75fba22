#include "reports/sweep_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/comparison_plots.h"
#include "support/comparison_samples.h"

namespace kvlab {
namespace {

using testing::HasSubstr;

MethodResult at_threshold(const std::string& threshold, double nll, double seen) {
  MethodResult row = sample_method("Knorm(threshold=" + threshold + ")", nll, 3.0);
  row.recipe = "knorm(threshold=" + threshold + ")";
  row.documents[0].seen_visible = seen * 1000;
  row.documents[0].kv_bytes_seen_sum = seen * 8e9;
  return row;
}

// As `--thresholds "-14,-16,-18"` gives it, with a row whose threshold evicts nothing.
ComparisonResult swept() {
  ComparisonResult result;
  result.config = {{"model", "tiny"}, {"documents", 1}, {"token_set", "0123"}};
  MethodResult baseline = sample_method("Baseline", 3.0, 3.0);
  baseline.reference = true;
  baseline.documents[0].kv_bytes_seen_sum = 8e9;
  MethodResult noise = baseline;
  noise.name = "Baseline, in extends of 100";
  result.methods = {baseline, noise, at_threshold("-14", 3.5, 0.4), at_threshold("-16", 3.25, 0.6),
                    at_threshold("-18", 3.0, 1)};
  result.methods[4].status = Status::kInert;
  return result;
}

ThresholdSweep sample_sweep() {
  return threshold_sweep(
      swept(), {{"knorm(threshold=-14)", -14}, {"knorm(threshold=-16)", -16}, {"knorm(threshold=-18)", -18}});
}

TEST(ThresholdSweep, RowsInTheOrderOfTheirThresholds) {
  const ThresholdSweep sweep = sample_sweep();
  ASSERT_EQ(sweep.rows.size(), 3u);
  EXPECT_EQ(sweep.rows[0].threshold, -18);
  EXPECT_EQ(sweep.rows[2].threshold, -14);
  EXPECT_NEAR(*sweep.rows[2].summary.delta_nll, 0.5, 1e-12);
}

TEST(ThresholdSweep, Csv) {
  EXPECT_EQ(render_sweep(sample_sweep(), TableFormat::kCsv, 0).substr(0, 100).find("threshold,density,"), 0u);
  const std::string csv = render_sweep(sample_sweep(), TableFormat::kCsv, 0);
  EXPECT_THAT(csv, HasSubstr("\n-18,0.12890625,0,1,3,,,,"));
  EXPECT_THAT(csv, HasSubstr("\n-14,0.12890625,0,0.4,3.5,0.5,,,33.11545195869231,64.87212707"));
  EXPECT_THAT(csv, HasSubstr(",INERT\n-16,"));
}

TEST(ThresholdSweep, TextAndMarkdown) {
  const std::string text = render_sweep(sample_sweep(), TableFormat::kText, 0);
  for (const char* part : {"threshold", "compressible", "ΔNLL 95%", "+0.5000", "+64.872", "INERT",
                           "Baseline: NLL 3.0000, PPL 20.086"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(render_sweep(sample_sweep(), TableFormat::kMarkdown, 0), HasSubstr(" -14 |  0.1289 |"));
}

TEST(ThresholdSweep, PlotsShowRowsWithADelta) {
  const std::vector<LinePlot> plots = sweep_plots(sample_sweep());
  ASSERT_EQ(plots.size(), 2u);
  ASSERT_EQ(plots[0].series[0].points.size(), 2u) << "the INERT row has none";
  EXPECT_EQ(plots[0].series[0].points[1].label, "-14");
  EXPECT_DOUBLE_EQ(plots[0].series[0].points[1].x, 0.4);
  EXPECT_DOUBLE_EQ(plots[1].series[0].points[1].x, -14);
  EXPECT_EQ(plots[0].baseline, std::optional<double>(0));
  EXPECT_TRUE(sweep_plots(threshold_sweep(swept(), {})).empty());
}

TEST(QualityPlot, APointPerRowOverTheBytesSeen) {
  const LinePlot plot = quality_plot(swept()).value();
  ASSERT_EQ(plot.series.size(), 2u) << "neither the baselines nor the INERT row";
  EXPECT_EQ(plot.series[0].points[0].label, "Knorm(threshold=-14)");
  EXPECT_DOUBLE_EQ(plot.series[0].points[0].x, 0.4);
  EXPECT_NEAR(plot.series[0].points[0].y, 0.5, 1e-12);
  EXPECT_EQ(plot.subtitle, "tiny · 1 document · token set 0123");
  ComparisonResult alone = swept();
  alone.methods.resize(2);
  EXPECT_FALSE(quality_plot(alone));
}

}  // namespace
}  // namespace kvlab
