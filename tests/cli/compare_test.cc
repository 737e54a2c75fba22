// What `kvlab compare` writes, on a tiny model: keys, sums, statuses.
#include <gmock/gmock.h>

#include <cmath>

#include "cache/scorer.h"
#include "cli/compare_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using testing::ProgramResult;
using CompareFiles = testing::CompareRun;

const char* const kNoise = "Baseline, in extends of 100";

TEST_F(CompareFiles, EveryRowHasTheKeysOfTheSummary) {
  const ProgramResult result =
      compare({"--methods", "knorm(keep=0.4)", "h2o", "kvzap"}, place_.documents("data.jsonl", {150, 120}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json written = summary();
  EXPECT_THAT(names(written), ElementsAre("Baseline", kNoise, "Baseline, one query at a time",
                                          "Knorm(keep=0.4)", "H2O", "KVzap"));
  for (const json& method : written.at("methods")) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : method.items()) keys.push_back(key);
    EXPECT_THAT(keys, IsSupersetOf({"name",
                                    "recipe",
                                    "status",
                                    "reason",
                                    "ppl",
                                    "nll",
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
                                    "tokens_per_second",
                                    "forced_evictions"}));
  }
  EXPECT_EQ(written.at("config").at("documents"), 2);
  EXPECT_EQ(written.at("config").at("dtype"), "f32");
  EXPECT_EQ(written.at("interrupted"), false);
  EXPECT_TRUE(written.at("environment").contains("cpu"));
}

TEST_F(CompareFiles, BaselineNoiseFloorAndACompressedRow) {
  ASSERT_EQ(compare({"--methods", "knorm(keep=0.4)"}, place_.documents("data.jsonl", {250})).exit_code, 0);
  const json written = summary();
  const json baseline = row(written, "Baseline"), noise = row(written, kNoise),
             knorm = row(written, "Knorm(keep=0.4)");
  EXPECT_EQ(baseline.at("delta_ppl"), 0);
  EXPECT_EQ(baseline.at("density"), 1);
  EXPECT_EQ(baseline.at("density_seen"), 1);
  EXPECT_EQ(baseline.at("kl_mean"), 0);
  EXPECT_EQ(baseline.at("top1_agreement"), 1);
  EXPECT_EQ(baseline.at("tokens_scored"), 249);
  EXPECT_EQ(baseline.at("tokens_touched"), 0);
  EXPECT_LT(std::fabs(noise.at("delta_ppl_percent").get<double>()), 0.05);
  EXPECT_EQ(knorm.at("status"), "OK");
  EXPECT_NEAR(knorm.at("density").get<double>(), 0.4, 1e-9);
  EXPECT_GT(knorm.at("kl_mean").get<double>(), 0.01);
  EXPECT_LT(knorm.at("kv_bytes").get<double>(), baseline.at("kv_bytes").get<double>());
  EXPECT_GT(knorm.at("tokens_touched").get<int>(), 200);
}

// The summary is nothing but sums over the documents of the details.
TEST_F(CompareFiles, DetailsReproduceTheSummary) {
  const std::string data = place_.documents("data.jsonl", {150, 120, 80}, true);
  ASSERT_EQ(compare({"--methods", "knorm h2o,streaming_llm(sinks=2,window=30)", "--token_nll", "--mask_field",
                     "mask"},
                    data)
                .exit_code,
            0);
  const json written = summary(), detailed = details();
  ASSERT_EQ(names(written), names(detailed));
  for (const json& method : detailed.at("methods")) {
    SCOPED_TRACE(method.at("name").get<std::string>());
    double nll = 0, delta = 0, kl = 0, kept = 0, all = 0, visible = 0, dense = 0, bytes = 0;
    int scored = 0, losses = 0;
    double loss_sum = 0;
    for (const json& document : method.at("documents")) {
      nll += document.at("nll_sum").get<double>();
      delta += document.at("delta_nll_sum").get<double>();
      kl += document.at("kl_sum").get<double>();
      kept += document.at("entries").at("kept").get<double>();
      all += document.at("entries").at("all").get<double>();
      visible += document.at("seen_visible").get<double>();
      dense += document.at("seen_dense").get<double>();
      bytes += document.at("kv_bytes").get<double>();
      scored += document.at("tokens_scored").get<int>();
      losses += static_cast<int>(document.at("token_nll").size());
      for (const json& loss : document.at("token_nll")) loss_sum += loss.get<double>();
    }
    ASSERT_EQ(method.at("documents").size(), 3u);
    const json short_row = row(written, method.at("name"));
    EXPECT_EQ(short_row.at("tokens_scored"), scored);
    EXPECT_EQ(losses, scored);
    EXPECT_EQ(scored,
              150 + 120 + 80 - 3 - (37 + 30 + 20));  // without the first tokens and those the mask leaves out
    EXPECT_NEAR(loss_sum, nll, 1e-4 * nll);
    EXPECT_NEAR(short_row.at("nll").get<double>(), nll / scored, 1e-9);
    EXPECT_NEAR(short_row.at("ppl").get<double>(), std::exp(nll / scored), 1e-6);
    EXPECT_NEAR(short_row.at("delta_nll").get<double>(), delta / scored, 1e-9);
    EXPECT_NEAR(short_row.at("kl_mean").get<double>(), kl / scored, 1e-9);
    EXPECT_NEAR(short_row.at("density").get<double>(), kept / all, 1e-9);
    EXPECT_NEAR(short_row.at("density_seen").get<double>(), visible / dense, 1e-9);
    EXPECT_NEAR(short_row.at("kv_bytes").get<double>(), bytes / 3, 1e-6);
  }
}

TEST_F(CompareFiles, IntervalsAndVerdicts) {
  const ProgramResult result = compare({"--methods", "knorm(keep=0.4)", "--margin", "1%", "--token_nll"},
                                       place_.documents("data.jsonl", std::vector<int>(11, 150)));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("95% intervals: t over 11 documents"));
  const json written = summary(), detailed = details();
  const json knorm = row(written, "Knorm(keep=0.4)");
  EXPECT_EQ(knorm.at("ci_method"), "t over 11 documents");
  EXPECT_LT(knorm.at("delta_nll_ci95").at(0), knorm.at("delta_nll"));
  EXPECT_GT(knorm.at("delta_nll_ci95").at(1), knorm.at("delta_nll"));
  EXPECT_TRUE(knorm.at("verdict").is_string());
  EXPECT_TRUE(knorm.at("p_holm").is_number());
  EXPECT_GT(knorm.at("kl_max"), knorm.at("kl_median"));
  EXPECT_TRUE(row(written, kNoise).at("p_holm").is_null());
  EXPECT_TRUE(row(written, "Baseline").at("kl_max").is_null());
  EXPECT_EQ(written.at("config").at("margin"), 0.01);
  const json detailed_knorm = row(detailed, "Knorm(keep=0.4)");
  for (const json& document : detailed_knorm.at("documents")) {
    EXPECT_EQ(document.at("block_tokens"), json({128, 21}));
    double delta = 0, kl = 0, token_kl = 0;
    for (const json& sum : document.at("delta_nll_blocks")) delta += sum.get<double>();
    for (const json& sum : document.at("kl_blocks")) kl += sum.get<double>();
    for (const json& value : document.at("token_kl")) token_kl += value.get<double>();
    EXPECT_NEAR(delta, document.at("delta_nll_sum").get<double>(), 1e-9);
    EXPECT_NEAR(kl, document.at("kl_sum").get<double>(), 1e-9);
    EXPECT_NEAR(token_kl, document.at("kl_sum").get<double>(), 1e-4);
  }
}

TEST_F(CompareFiles, MarginsThatAreNone) {
  for (const char* margin : {"1", "0", "-1%", "100%", "much", "%", "nan", "1 %"}) {
    const ProgramResult result = compare({"--margin", margin}, place_.documents("data.jsonl", {40}));
    EXPECT_EQ(result.exit_code, 2) << margin;
    EXPECT_THAT(result.err, HasSubstr("--margin")) << margin;
  }
}

TEST_F(CompareFiles, LongRangeLoss) {
  const std::string data = place_.documents("data.jsonl", {300, 260});
  const std::vector<std::string> methods = {"--methods", "knorm", "streaming_llm"};
  const ProgramResult result = compare(methods, data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("long-range ΔNLL"));
  const json written = summary();
  const json control = written.at("long_range_control");
  EXPECT_EQ(control.at("recipe"), "streaming_llm(size=132,sinks=4,window=128,every=1)");
  EXPECT_GT(control.at("tokens"), 0);
  EXPECT_LT(control.at("tokens"), control.at("tokens_scored"));
  EXPECT_EQ(written.at("partial"), false);
  EXPECT_EQ(row(written, "Knorm").at("long_range_tokens"), control.at("tokens"));
  EXPECT_EQ(row(written, "Knorm").at("long_range_control_family"), false);
  EXPECT_EQ(row(written, "StreamingLLM").at("long_range_control_family"), true);
  EXPECT_THAT(row(written, "StreamingLLM").at("notes").dump(), HasSubstr("speaks against it"));
  double sum = 0;
  const json knorm = row(details(), "Knorm");
  for (const json& document : knorm.at("documents"))
    sum += document.at("delta_nll_long_range_sum").get<double>();
  EXPECT_NEAR(row(written, "Knorm").at("delta_nll_long_range").get<double>(),
              sum / control.at("tokens").get<double>(), 1e-9);

  std::vector<std::string> without = methods;
  without.push_back("--no_long_range");
  EXPECT_THAT(compare(without, data).out, ::testing::Not(HasSubstr("long-range")));
  EXPECT_TRUE(summary().at("long_range_control").is_null());
  EXPECT_EQ(row(summary(), "Knorm").at("nll"), row(written, "Knorm").at("nll"));
}

TEST_F(CompareFiles, LongRangeLossOfShortDocuments) {
  const ProgramResult result = compare({"--methods", "knorm"}, place_.documents("data.jsonl", {100}));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("long-range")));
  EXPECT_THAT(summary().at("long_range_control").at("note").get<std::string>(),
              HasSubstr("no document is longer than the 132 tokens"));
}

TEST_F(CompareFiles, LossesOfTokensOnlyWhenAskedFor) {
  ASSERT_EQ(compare({"--methods", "none"}, place_.documents("data.jsonl", {40})).exit_code, 0);
  EXPECT_TRUE(details().at("methods").at(0).at("documents").at(0).at("token_nll").is_null());
}

TEST_F(CompareFiles, StatusesSayWhatHappened) {
  ASSERT_EQ(
      compare({"--methods", "knorm(keep=1)", "streaming_llm(size=400)", "h2o(size=10,window=10)", "kvzap"},
              place_.documents("data.jsonl", {150}))
          .exit_code,
      0);
  const json written = summary();
  const auto expect = [&](const std::string& name, const std::string& status, const std::string& reason) {
    EXPECT_EQ(row(written, name).at("status"), status) << name;
    EXPECT_THAT(row(written, name).at("reason").get<std::string>(), HasSubstr(reason)) << name;
  };
  expect("Knorm(keep=1)", "NEUTRAL", "cannot evict");
  expect("StreamingLLM(size=400)", "INERT", "no scored token saw a compressed cache");
  expect("H2O(size=10,window=10)", "FALLBACK", "forced");
  expect("KVzap", "SKIPPED", "--kvzap_scorer_model");
  EXPECT_EQ(row(written, "Knorm(keep=1)").at("delta_ppl"), 0);
  EXPECT_TRUE(row(written, "StreamingLLM(size=400)").at("delta_ppl").is_null());
  EXPECT_TRUE(row(written, "KVzap").at("ppl").is_null());
}

// Without --methods: everything that A1 of the requirements names and this build has.
TEST_F(CompareFiles, DefaultMethods) {
  const ProgramResult result = compare({}, place_.documents("data.jsonl", {150}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<std::string> rows = names(summary());
  EXPECT_EQ(rows.front(), "Baseline");
  EXPECT_EQ(rows[1], kNoise);
  for (const ScorerInfo* info : registry_scorers()) {
    for (const char* wanted : {"random", "streaming_llm", "expected_attention", "kvzap", "observed_attention",
                               "h2o", "snapkv", "knorm", "tova"}) {
      if (info->name != wanted) continue;
      EXPECT_THAT(rows, Contains(info->title));
    }
  }
  EXPECT_THAT(rows, Contains("Random(threshold=1.0)"));
  EXPECT_EQ(row(summary(), "KVzap").at("status"), "SKIPPED");
  EXPECT_EQ(row(summary(), "Random").at("seeds"), 5);
  EXPECT_TRUE(row(summary(), "Random(threshold=1.0)").at("seeds").is_null());
}

TEST_F(CompareFiles, PicturesUnlessSwitchedOff) {
  const std::string data = place_.documents("data.jsonl", {150});
  const std::string picture = place_.path("out/Knorm_compression_heatmap.png");
  ASSERT_EQ(compare({"--methods", "knorm"}, data).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(picture));
  const ProgramResult result = compare({"--methods", "knorm"}, data, true);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(picture));
  EXPECT_THAT(result.out, HasSubstr("Baseline keeps everything and has no picture"));
  EXPECT_THAT(result.out, HasSubstr("Overall density: 50.00%"));
}

}  // namespace
}  // namespace kvlab
