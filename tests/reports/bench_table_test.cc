#include "reports/bench_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/bench_figures.h"
#include "support/bench_samples.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::sample_bench;

TEST(BenchTable, SaysWhatRanAndWhatFollows) {
  const std::string text = render_bench(sample_bench(), false, 0);
  EXPECT_THAT(text, HasSubstr("tiny (llama), random (20 tensors) weights: 2 of 10 layers, bf16 weights"));
  EXPECT_THAT(text, HasSubstr("500 B a layer"));
  EXPECT_THAT(text, HasSubstr("250.0"));  // tokens/s
  EXPECT_THAT(text, HasSubstr("+15.9"));  // over weights and caches
  EXPECT_THAT(text, HasSubstr("The whole model, 10 layers"));
  for (const std::string& formula : bench_formulas()) EXPECT_THAT(text, HasSubstr(formula));
  EXPECT_THAT(text, Not(HasSubstr("sliding windows")));
  EXPECT_THAT(text, Not(HasSubstr("peak be reset")));
}

TEST(BenchTable, SaysWhatMakesFiguresDoubtful) {
  BenchResult result = sample_bench();
  result.model.layers_alike = false;
  result.own_peaks = false;
  const std::string text = render_bench(result, false, 0);
  EXPECT_THAT(text, HasSubstr("Layers differ in their sliding windows"));
  EXPECT_THAT(text, HasSubstr("peak resident is that since the program began"));
}

TEST(BenchTable, UnknownFiguresAreDashes) {
  BenchResult result = sample_bench();
  result.rows[0].peak_resident = 0;
  result.model.embedding_bytes.reset();
  const std::string text = render_bench(result, true, 0);
  EXPECT_THAT(text, HasSubstr("an unknown size in the file"));
  EXPECT_THAT(text, Not(HasSubstr("-100.0")));
  EXPECT_THAT(text, HasSubstr("| Baseline"));
}

}  // namespace
}  // namespace kvlab
