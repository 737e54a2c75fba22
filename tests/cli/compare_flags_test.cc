// The flags of `kvlab compare`: spellings, lists of methods, sweeps, protocols, orders and formats.
#include <gmock/gmock.h>

#include "cli/compare_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;
using CompareFlags = testing::CompareRun;

const char* const kNoise = "Baseline, in extends of 100";

TEST_F(CompareFlags, HyphensAndUnderscoresAreTheSame) {
  const std::string data = place_.documents("data.jsonl", {120, 110});
  ASSERT_EQ(
      compare({"--methods", "knorm", "--max_length", "100", "--compression_ratio=0.25"}, data).exit_code, 0);
  const json underscores = summary();
  ASSERT_EQ(
      compare({"--methods", "knorm", "--max-length", "100", "--compression-ratio=0.25"}, data).exit_code, 0);
  EXPECT_EQ(summary().at("config"), underscores.at("config"));
  EXPECT_EQ(row(summary(), "Knorm").at("ppl"), row(underscores, "Knorm").at("ppl"));
  EXPECT_EQ(row(summary(), "Knorm").at("recipe"), "knorm(keep=0.75,sinks=0,every=1)");
  EXPECT_EQ(summary().at("config").at("max_length"), 100);
}

TEST_F(CompareFlags, MemoryChangesWhatRunsTogetherAndNoResult) {
  const std::string data = place_.documents("data.jsonl", {60, 50, 40});
  ASSERT_EQ(compare({"--methods", "knorm h2o"}, data).exit_code, 0);
  const json together = summary();
  EXPECT_EQ(together.at("config").at("memory"), int64_t{2} << 30);
  ASSERT_EQ(compare({"--methods", "knorm h2o", "--memory", "200KiB"}, data).exit_code, 0);
  const json alone = summary();
  EXPECT_EQ(alone.at("config").at("memory"), 200 * 1024);
  ASSERT_EQ(alone.at("methods").size(), together.at("methods").size());
  for (size_t r = 0; r < alone.at("methods").size(); ++r) {
    const json &a = alone.at("methods").at(r), &b = together.at("methods").at(r);
    EXPECT_NEAR(a.at("ppl").get<double>(), b.at("ppl").get<double>(), 1e-4 * b.at("ppl").get<double>());
    EXPECT_EQ(a.at("kv_bytes"), b.at("kv_bytes"));
    EXPECT_EQ(a.at("status"), b.at("status"));
  }
}

TEST_F(CompareFlags, NamesRecipesBlanksAndCommas) {
  const std::string data = place_.documents("data.jsonl", {60});
  const std::vector<std::string> expected{
      "Baseline", kNoise, "Baseline, one query at a time", "Knorm", "H2O(size=20,window=8)", "TOVA"};
  const std::vector<std::vector<std::string>> spellings = {
      {"--methods", "knorm", "h2o(size=20,window=8)", "tova"},
      {"--methods", "knorm,h2o(size=20,window=8),tova"},
      {"--methods", "knorm h2o(size=20,window=8) tova"},
      {"--methods", "Knorm, H2O(size=20,window=8),TOVA"},
      {"--methods", "knorm", "--methods", "h2o(size=20,window=8) tova"}};
  for (const auto& spelling : spellings) {
    const ProgramResult result = compare(spelling, data);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(names(summary()), expected) << spelling[1];
  }
}

TEST_F(CompareFlags, ThresholdsByMethodAndAsASweep) {
  const std::string data = place_.documents("data.jsonl", {200});
  ASSERT_EQ(
      compare({"--methods", "knorm random h2o", "--thresholds", R"({"knorm": -2.5, "random": 0.85})"}, data)
          .exit_code,
      0);
  EXPECT_EQ(row(summary(), "Knorm").at("recipe"), "knorm(threshold=-2.5,sinks=0,every=1)");
  EXPECT_THAT(row(summary(), "Random").at("recipe").get<std::string>(), HasSubstr("threshold=0.85"));
  EXPECT_THAT(row(summary(), "H2O").at("recipe").get<std::string>(), HasSubstr("keep=0.5"));
  for (const char* sweep : {"-2,-3,-4", "-2 -3 -4"}) {
    const ProgramResult result = compare({"--methods", "knorm(window=32)", "--thresholds", sweep}, data);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    ASSERT_EQ(summary().at("methods").size(), 5u);
    double last = 0;  // a lower threshold evicts less
    for (size_t i = 2; i < 5; ++i) {
      const json method = summary().at("methods").at(i);
      EXPECT_THAT(method.at("recipe").get<std::string>(), HasSubstr("threshold=-" + std::to_string(i)));
      EXPECT_GE(method.at("density_compressible").get<double>(), last);
      last = method.at("density_compressible").get<double>();
    }
    EXPECT_GT(last, 0);
  }
}

TEST_F(CompareFlags, WarnsOfFlagsThatNoMethodTakes) {
  const ProgramResult result = compare({"--methods", "knorm", "--threshold", "-5", "--thresholds",
                                        R"({"random": 0.85})", "--kvzap_scorer_model", "nowhere"},
                                       place_.documents("data.jsonl", {60}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err,
              HasSubstr("warning: --threshold -5 has no effect: no kvzap is among the methods\n"));
  EXPECT_THAT(result.err, HasSubstr("warning: --thresholds: random 0.85 has no effect"));
  EXPECT_THAT(result.err, HasSubstr("warning: --kvzap_scorer_model nowhere has no effect"));
}

TEST_F(CompareFlags, ASweepHasATableAFileAndAPlot) {
  const std::string data = place_.documents("data.jsonl", {200});
  const std::vector<std::string> sweep{"--methods", "knorm(window=32)", "--thresholds", "-2,-4,-3"};
  const auto exists = [&](const char* name) {
    return std::filesystem::exists(place_.path(std::string("out/") + name));
  };
  ProgramResult result = compare(sweep, data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("The sweep over thresholds"));
  EXPECT_THAT(result.out, HasSubstr("top-1 %")) << "the usual table as well";
  const std::string csv = place_.read("out/threshold_sweep.csv");
  EXPECT_THAT(csv, ::testing::ContainsRegex("^threshold,density,density_compressible,density_seen,[^\n]*\n"
                                            "-4,[^\n]*\n-3,[^\n]*\n-2,"));
  EXPECT_FALSE(exists("threshold_sweep.png")) << "--no_heatmaps draws nothing";
  EXPECT_FALSE(exists("quality_vs_seen.png"));

  std::vector<std::string> as_csv = sweep;
  as_csv.insert(as_csv.end(), {"--format", "csv", "--no_plots"});
  result = compare(as_csv, data, true);
  EXPECT_EQ(result.out, place_.read("out/threshold_sweep.csv"));
  EXPECT_FALSE(exists("quality_vs_seen.png"));

  result = compare(sweep, data, true);
  EXPECT_TRUE(exists("threshold_sweep.png") && exists("quality_vs_seen.png"));
  EXPECT_THAT(result.out, HasSubstr("quality_vs_seen.png"));
}

TEST_F(CompareFlags, OneMethodHasAPlotToo) {
  const std::string data = place_.documents("data.jsonl", {100});
  ASSERT_EQ(compare({"--methods", "knorm(window=4)"}, data, true).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(place_.path("out/quality_vs_seen.png")));
  EXPECT_FALSE(std::filesystem::exists(place_.path("out/threshold_sweep.csv")));
}

TEST_F(CompareFlags, SpellingsOfMethodsInThresholds) {
  const std::string data = place_.documents("data.jsonl", {200});
  ASSERT_EQ(
      compare({"--methods", "observed_attention", "--thresholds", R"({"ObservedAttention": 0.5})"}, data)
          .exit_code,
      0);
  EXPECT_THAT(row(summary(), "ObservedAttention").at("recipe").get<std::string>(),
              HasSubstr("threshold=0.5"));
}

TEST_F(CompareFlags, DensitiesAreOfTheUnprotectedEntries) {
  ASSERT_EQ(compare({"--methods", "knorm(window=40)", "--densities", R"({"knorm": 0.25})",
                     "--sliding_window_size", "40"},
                    place_.documents("data.jsonl", {240}))
                .exit_code,
            0);
  const json knorm = row(summary(), "Knorm(window=40)");
  EXPECT_THAT(knorm.at("recipe").get<std::string>(), HasSubstr("free_density=0.25"));
  EXPECT_NEAR(knorm.at("density_compressible").get<double>(), 0.25, 1e-9);
  EXPECT_NEAR(knorm.at("density").get<double>(), (40 + 50) / 240.0, 1e-9);
}

TEST_F(CompareFlags, ChunkSizeSinksWindowAndSeedReachRecipesThatDoNotSay) {
  ASSERT_EQ(compare({"--methods", "random(seed=7) knorm(every=2,sinks=1,window=3)", "--chunk_size", "16",
                     "--sinks", "2", "--sliding_window_size", "9", "--seed", "3"},
                    place_.documents("data.jsonl", {64}))
                .exit_code,
            0);
  EXPECT_EQ(row(summary(), "Random(seed=7)").at("recipe"),
            "random(keep=0.5,sinks=2,window=9,every=16,seed=7)");
  EXPECT_EQ(row(summary(), "Knorm(every=2,sinks=1,window=3)").at("recipe"),
            "knorm(keep=0.5,sinks=1,window=3,every=2)");
  EXPECT_EQ(row(summary(), "Random(seed=7)").at("every"), 16);
}

TEST_F(CompareFlags, PrefixScoresWhatFollowsTheContext) {
  const ProgramResult result = compare(
      {"--methods", "knorm(keep=0.5,at=context)", "--protocol", "prefix", "--context", "80", "--token_nll"},
      place_.documents("data.jsonl", {120, 100}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json knorm = row(summary(), "Knorm(keep=0.5,at=context)");
  EXPECT_EQ(knorm.at("status"), "OK");
  EXPECT_EQ(knorm.at("tokens_scored"), 40 + 20);
  EXPECT_TRUE(knorm.at("every").is_null());
  EXPECT_EQ(details().at("methods").at(2).at("documents").at(0).at("token_nll").size(), 40u);
  EXPECT_NEAR(knorm.at("density").get<double>(), (40 + 40 + 40 + 20) / 220.0, 1e-9);
}

TEST_F(CompareFlags, MaxSamplesTakesTheFirstDocuments) {
  ASSERT_EQ(compare({"--methods", "none", "--max_samples", "2"}, place_.documents("data.jsonl", {40, 50, 60}))
                .exit_code,
            0);
  EXPECT_EQ(details().at("methods").at(0).at("documents").size(), 2u);
  EXPECT_EQ(details().at("methods").at(0).at("documents").at(1).at("id"), "doc1");
}

// The position of each row's name in the printed table.
std::vector<size_t> places(const std::string& text, const std::vector<std::string>& rows) {
  std::vector<size_t> found;
  for (const std::string& name : rows) found.push_back(text.find("\n" + name + " "));
  return found;
}

TEST_F(CompareFlags, SortedByLossOnDemand) {
  const std::string data = place_.documents("data.jsonl", {200});
  const std::vector<std::string> methods{"--methods",
                                         "streaming_llm(size=8,window=2) knorm(keep=0.9) tova(keep=0.3)"};
  const ProgramResult given = compare(methods, data);
  ASSERT_EQ(given.exit_code, 0) << given.err;
  std::vector<std::pair<double, std::string>> losses;
  std::vector<std::string> in_given_order;
  const json written = summary();
  for (const json& method : written.at("methods")) {
    if (method.at("name") == kNoise) continue;  // ties with the baseline
    losses.emplace_back(method.at("nll").get<double>(), method.at("name"));
    in_given_order.push_back(method.at("name"));
  }
  const auto given_places = places(given.out, in_given_order);
  EXPECT_TRUE(std::is_sorted(given_places.begin(), given_places.end())) << given.out;
  std::sort(losses.begin(), losses.end());
  std::vector<std::string> in_loss_order;
  for (const auto& [loss, name] : losses) in_loss_order.push_back(name);
  std::vector<std::string> sorted = methods;
  sorted.insert(sorted.end(), {"--sort", "nll"});
  const ProgramResult by_loss = compare(sorted, data);
  const auto loss_places = places(by_loss.out, in_loss_order);
  EXPECT_TRUE(std::is_sorted(loss_places.begin(), loss_places.end())) << by_loss.out;
}

TEST_F(CompareFlags, TablesAsCsvAndMarkdown) {
  const std::string data = place_.documents("data.jsonl", {60});
  const ProgramResult csv = compare({"--methods", "knorm", "--format", "csv"}, data);
  EXPECT_EQ(csv.out.rfind("method,recipe,nll", 0), 0u) << "a CSV file begins with its header: " << csv.out;
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 4) << "and holds nothing but rows: " << csv.out;
  EXPECT_THAT(csv.out, HasSubstr("\nKnorm,\"knorm(keep=0.5,sinks=0,every=1)\","));
  EXPECT_THAT(csv.err, HasSubstr("comparison_summary.json"));
  const ProgramResult markdown = compare({"--methods", "knorm", "--format", "markdown"}, data);
  EXPECT_THAT(markdown.out, HasSubstr("| Method"));
  EXPECT_THAT(markdown.out, HasSubstr("\n| Knorm "));
  EXPECT_EQ(compare({"--methods", "knorm", "--format", "xml"}, data).exit_code, 2);
}

TEST_F(CompareFlags, QuietSaysNothingOnTheWay) {
  const ProgramResult result =
      compare({"--methods", "knorm", "--quiet"}, place_.documents("data.jsonl", {60}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, Not(HasSubstr("\033")));
}

}  // namespace
}  // namespace kvlab
