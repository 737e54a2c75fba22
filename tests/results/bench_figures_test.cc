// What follows from a bench's measurements: per layer, and for the whole model.
#include "results/bench_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/bench_json.h"
#include "support/bench_samples.h"

namespace kvlab {
namespace {

using testing::sample_bench;

TEST(BenchFigures, PerLayerAndAgainstTheProductsAlone) {
  const BenchResult result = sample_bench();
  const BenchFigures f = bench_figures(result, result.rows[0]);
  EXPECT_DOUBLE_EQ(f.tokens_per_second, 1000 / 4.0);
  EXPECT_DOUBLE_EQ(f.layer_seconds, 2.0);
  EXPECT_DOUBLE_EQ(f.cpu_share, 6.0 / 4 / 2);
  // 1000 tokens of 2 layers are 20 times the products' 100 rows: 20 * 0.15 of 4 s, 20 * 0.24 of 6 s.
  EXPECT_DOUBLE_EQ(f.share_of_products, 0.75);
  EXPECT_DOUBLE_EQ(f.cpu_share_of_products, 0.8);
  EXPECT_DOUBLE_EQ(f.layer_cache_end, 30);
  EXPECT_DOUBLE_EQ(f.layer_cache_peak, 40);
}

TEST(BenchFigures, MemoryOfTheRun) {
  BenchResult result = sample_bench();
  BenchFigures f = bench_figures(result, result.rows[0]);
  EXPECT_EQ(f.weights, 2 * 500 + 300);
  EXPECT_EQ(f.working, 1600 - 1300 - 80);
  EXPECT_DOUBLE_EQ(f.over_accounted, 1600.0 / 1380 - 1);
  EXPECT_TRUE(f.inside_memory);
  result.memory = 1599;
  EXPECT_FALSE(bench_figures(result, result.rows[0]).inside_memory);
  result.rows[0].peak_resident = 1000;  // pages that were never touched
  f = bench_figures(result, result.rows[0]);
  EXPECT_EQ(f.working, 0);
  EXPECT_LT(f.over_accounted, 0);
}

TEST(BenchFigures, TheWholeModelGrowsWithItsLayersAlone) {
  BenchResult result = sample_bench();
  const BenchFigures f = bench_figures(result, result.rows[0]);
  EXPECT_DOUBLE_EQ(f.whole_seconds, 4.0 * 10 / 2);
  EXPECT_DOUBLE_EQ(f.whole_head_seconds, 1000 * 0.5 / 50);
  EXPECT_DOUBLE_EQ(f.whole_cache, 40 * 10);
  EXPECT_DOUBLE_EQ(f.whole_memory, 500 * 10 + 300 + 400 + 220);
  EXPECT_TRUE(f.whole_inside_memory);
  result.memory = 5919;
  EXPECT_FALSE(bench_figures(result, result.rows[0]).whole_inside_memory);
}

TEST(BenchJson, HasWhatWasMeasuredAndTheFormulas) {
  const auto json = bench_json(sample_bench());
  EXPECT_EQ(json.at("model").at("weight_bytes_per_layer"), 500);
  EXPECT_EQ(json.at("model").at("embedding_bytes_in_file"), 200);
  EXPECT_EQ(json.at("layer_products_alone").at("rows"), 100);
  EXPECT_EQ(json.at("whole_model_formulas").size(), 2u);
  const auto& row = json.at("rows").at(0);
  EXPECT_EQ(row.at("recipe"), "none");
  EXPECT_EQ(row.at("seconds_per_layer"), 2.0);
  EXPECT_EQ(row.at("cache_bytes_peak_per_layer"), 40.0);
  EXPECT_EQ(row.at("working_bytes"), 220);
  EXPECT_EQ(row.at("inside_memory"), true);
  EXPECT_EQ(row.at("whole_model").at("seconds"), 20.0);
  EXPECT_EQ(row.at("whole_model").at("memory_bytes"), 5920.0);
}

TEST(BenchJson, WhatIsNotKnownIsNull) {
  BenchResult result = sample_bench();
  result.rows[0].peak_resident = 0;
  result.model.embedding_bytes.reset();
  const auto json = bench_json(result);
  EXPECT_TRUE(json.at("model").at("embedding_bytes_in_file").is_null());
  const auto& row = json.at("rows").at(0);
  for (const char* key : {"peak_resident_bytes", "working_bytes", "resident_over_accounted", "inside_memory"})
    EXPECT_TRUE(row.at(key).is_null()) << key;
  EXPECT_TRUE(row.at("whole_model").at("memory_bytes").is_null());
  EXPECT_EQ(row.at("whole_model").at("cache_bytes_peak"), 400.0);
}

}  // namespace
}  // namespace kvlab
