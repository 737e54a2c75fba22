// `kvlab ppl` as a user runs it: flags, aliases, folders and files, mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>

#include "cli/program.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Matcher;
using testing::ProgramResult;
using testing::run_kvlab;
using ::testing::StartsWith;

class Ppl : public ::testing::Test {
 protected:
  ProgramResult ppl(const std::vector<std::string>& extra) const {
    std::vector<std::string> arguments{
        "ppl",     "--model", place_.model(), "--data_path", data_,          "--tokens_field",  "ids",
        "--dtype", "f32",     "--threads",    "1",           "--output_dir", place_.path("out")};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_kvlab(arguments);
  }
  json summary() const { return json::parse(place_.read("out/ppl_summary.json")); }
  std::vector<std::string> methods_and_ratios() const {
    std::vector<std::string> list;
    const json rows = summary().at("methods");
    for (const json& row : rows)
      list.push_back(row.at("method").get<std::string>() + " " + row.at("compression_ratio").dump());
    return list;
  }
  std::set<std::string> folders() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(place_.path("out"))) {
      if (entry.is_directory()) names.insert(entry.path().filename().string());
    }
    return names;
  }
  void expect_refused(const std::vector<std::string>& extra,
                      const Matcher<const std::string&>& message) const {
    const ProgramResult result = ppl(extra);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, StartsWith("kvlab: "));
    EXPECT_THAT(result.err, message);
    EXPECT_FALSE(std::filesystem::exists(place_.path("out")));
  }

  testing::TinyWorkplace place_;
  std::string data_ = place_.documents("data.jsonl", {200, 150});
};

TEST_F(Ppl, WritesAFolderPerRow) {
  const ProgramResult result =
      ppl({"--press_sequence", "no_press,knorm,h2o(size=40,window=8)", "--compression-ratio", "0.25,0.5",
           "--protocol", "chunks", "--max_length", "64", "--repeat_baseline"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(methods_and_ratios(), ::testing::ElementsAre("baseline 0.0", "baseline_again 0.0", "knorm 0.25",
                                                           "knorm 0.5", "h2o(size=40,window=8) null"));
  EXPECT_THAT(result.out, HasSubstr("every loss is equal to the last bit"));
  const std::set<std::string> names = folders();
  ASSERT_EQ(names.size(), 5u);
  for (const char* end : {"__baseline__0", "__baseline_again__0", "__knorm__0.25", "__knorm__0.5",
                          "__h2o_size_40_window_8__own"}) {
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const std::string& name) { return name.ends_with(end); });
    ASSERT_NE(found, names.end()) << end;
    EXPECT_THAT(*found, StartsWith("data__"));
    const json row = json::parse(place_.read("out/" + *found + "/ppl.json"));
    EXPECT_EQ(row.at("summary").at("tokens_scored"), 5 * 63);  // 350 tokens: 5 windows of 64
    EXPECT_EQ(row.at("config").at("protocol"), "chunks");
    EXPECT_TRUE(row.at("environment").is_object());
    std::istringstream csv(place_.read("out/" + *found + "/ppl.csv"));
    std::string line;
    int lines = 0;
    while (std::getline(csv, line)) {
      EXPECT_EQ(std::count(line.begin(), line.end(), ','), 13) << line;
      ++lines;
    }
    EXPECT_EQ(lines, 6);
  }
}

TEST_F(Ppl, SweepsHaveIntervalsStepsAndPlots) {
  const ProgramResult result = ppl({"--methods", "knorm(window=4)", "--compression_ratio", "0,0.5,0.7,0.9",
                                    "--protocol", "chunks", "--max_length", "34"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = summary().at("methods");
  EXPECT_TRUE(rows.at(0).at("delta_nll_ci95").is_null());
  for (size_t r = 2; r < rows.size(); ++r) {
    const json& row = rows.at(r);
    EXPECT_LT(row.at("delta_nll_ci95").at(0), row.at("delta_nll"));
    EXPECT_GT(row.at("delta_nll_ci95").at(1), row.at("delta_nll"));
    EXPECT_EQ(row.at("ci_method"), "t over 10 windows of 1 document");
    EXPECT_GT(row.at("tokens_touched"), 0);
    EXPECT_EQ(row.at("touched_differing"), row.at("tokens_touched"));
  }
  EXPECT_EQ(rows.at(1).at("tokens_differing"), 0) << "a ratio of 0";
  const json steps = summary().at("ratio_steps");
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps.at(3).at("from"), 0.5);
  EXPECT_NEAR(steps.at(3).at("delta_nll").get<double>(),
              rows.at(4).at("delta_nll").get<double>() - rows.at(2).at("delta_nll").get<double>(), 1e-9);
  EXPECT_THAT(result.out, HasSubstr("ΔNLL(to) − ΔNLL(from)"));
  for (const char* name : {"ppl_vs_ratio.png", "runtime_vs_ratio.png", "ppl_summary.csv", "ratio_steps.csv"})
    EXPECT_TRUE(std::filesystem::exists(place_.path("out") + "/" + name)) << name;
}

TEST_F(Ppl, RandomMethodsAreFiveSeedsUnlessTheyNameOne) {
  const ProgramResult result = ppl({"--methods", "random random(keep=0.5,seed=3)", "--max_length", "64",
                                    "--max_samples", "1", "--seed", "2", "--no_plots"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = summary().at("methods");
  EXPECT_EQ(rows.at(1).at("seeds"), 5);
  EXPECT_GT(rows.at(1).at("ppl_spread"), 0);
  EXPECT_TRUE(rows.at(2).at("seeds").is_null());
  EXPECT_THAT(result.out, HasSubstr("± is the standard deviation over 5 seeds"));
  std::vector<double> losses;  // seeds 2 to 6; the row's NLL is their mean
  const std::set<std::string> list = folders();
  const auto folder = std::find_if(list.begin(), list.end(),
                                   [](const std::string& name) { return name.ends_with("__random__0.5"); });
  ASSERT_NE(folder, list.end());
  std::istringstream csv(place_.read("out/" + *folder + "/ppl.csv"));
  std::string line;
  std::getline(csv, line);
  for (int seed = 2; std::getline(csv, line); ++seed) {
    EXPECT_TRUE(line.ends_with("," + std::to_string(seed))) << line;
    std::istringstream cells(line);
    std::string cell;
    for (int c = 0; c <= 5; ++c) std::getline(cells, cell, ',');
    losses.push_back(std::stod(cell));
  }
  ASSERT_EQ(losses.size(), 5u);
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  EXPECT_NEAR(rows.at(1).at("nll").get<double>(), sum / 5, 1e-12);
  EXPECT_NEAR(rows.at(2).at("nll").get<double>(), losses[1], 1e-12) << "seed 3 alone";
  EXPECT_FALSE(std::filesystem::exists(place_.path("out/ppl_vs_ratio.png")));
}

TEST_F(Ppl, AliasesGiveTheSameRows) {
  ASSERT_EQ(ppl({"--press_name", "knorm", "--max_length", "100"}).exit_code, 0);
  const json by_press = summary().at("methods").at(1);
  ASSERT_EQ(ppl({"--methods", "knorm", "--max_length", "100"}).exit_code, 0);
  const json by_method = summary().at("methods").at(1);
  for (const char* key : {"recipe", "nll", "ppl", "delta_ppl_percent", "tokens_scored", "tokens_touched"})
    EXPECT_EQ(by_press.at(key), by_method.at(key)) << key;
  EXPECT_EQ(by_press.at("tokens_scored"), 2 * 99 + 99 + 49);
}

TEST_F(Ppl, PrefillOnlyActsAtTheEndOfTheContext) {
  ASSERT_EQ(
      ppl({"--press_name", "knorm", "--prefill_only", "--protocol", "prefix", "--context", "64"}).exit_code,
      0);
  json row = summary().at("methods").at(1);
  EXPECT_THAT(row.at("recipe").get<std::string>(), HasSubstr("at=context"));
  EXPECT_EQ(row.at("status"), "OK");
  EXPECT_EQ(row.at("tokens_scored"), 136 + 86);
  const ProgramResult trap =
      ppl({"--press_name", "knorm", "--prefill_only", "--protocol", "stride", "--max_length", "64"});
  ASSERT_EQ(trap.exit_code, 0) << trap.err;
  row = summary().at("methods").at(1);
  EXPECT_EQ(row.at("status"), "INERT");
  EXPECT_TRUE(row.at("delta_ppl_percent").is_null());
  EXPECT_THAT(trap.out, HasSubstr("INERT"));
}

TEST_F(Ppl, TokenAndSampleCaps) {
  ASSERT_EQ(ppl({"--methods", "none", "--max_tokens", "100"}).exit_code, 0);
  EXPECT_EQ(summary().at("methods").at(0).at("tokens_scored"), 2 * 99);
  ASSERT_EQ(ppl({"--methods", "none", "--max_tokens", "100", "--protocol", "chunks", "--max_length", "30"})
                .exit_code,
            0);
  EXPECT_EQ(summary().at("methods").at(0).at("tokens_scored"), 3 * 29);
  ASSERT_EQ(ppl({"--methods", "none", "--max_samples", "3", "--max_length", "60"}).exit_code, 0);
  EXPECT_EQ(summary().at("methods").at(0).at("windows"), 3);
}

TEST_F(Ppl, Mistakes) {
  expect_refused({"--protocol", "stride", "--max_length", "64", "--stride", "65"},
                 HasSubstr("--stride 65 is above --max_length 64"));
  expect_refused({"--protocol", "prefix", "--max_length", "64", "--context", "64"},
                 HasSubstr("--context 64 leaves nothing to score"));
  expect_refused({"--protocol", "prefix", "--context", "150"}, HasSubstr("doc1"));
  expect_refused({"--protocol", "prefix"}, HasSubstr("--context"));
  expect_refused({"--context", "8"}, HasSubstr("--context needs --protocol prefix"));
  expect_refused({"--stride", "8"}, HasSubstr("--stride needs --protocol stride"));
  expect_refused({"--protocol", "windows"}, HasSubstr("expected stream, prefix, stride or chunks"));
  expect_refused({"--protocol", "chunks", "--chunk_convention", "ggml"}, HasSubstr("gptq or llamacpp"));
  expect_refused({"--protocol", "chunks", "--max_length", "351"}, HasSubstr("350 tokens"));
  expect_refused({"--press_name", "knrom"}, HasSubstr("did you mean 'knorm'?"));
  expect_refused({"--press_sequence", ""}, HasSubstr("names no method"));
  expect_refused({"--compression_ratio", "0.5,1.5"}, HasSubstr("--compression_ratio 1.5"));
  expect_refused({"--join", "lines"}, HasSubstr("--join lines"));
  expect_refused({"--format", "csv"}, HasSubstr("--format csv"));
  data_ = place_.path("nowhere.jsonl");
  expect_refused({}, HasSubstr("nowhere.jsonl"));
}

TEST_F(Ppl, WindowsLongerThanTheModelsContext) {
  data_ = place_.documents("long.jsonl", {600});
  expect_refused({"--methods", "none"}, HasSubstr("--max_length 512"));
  EXPECT_EQ(ppl({"--methods", "none", "--max_length", "300"}).exit_code, 0);
}

TEST_F(Ppl, AnInterruptKeepsFinishedRows) {
  data_ = place_.documents("many.jsonl", std::vector<int>(60, 300));
  std::vector<std::string> words{
      "ppl",       "--model", place_.model(), "--data_path",     data_, "--tokens_field", "ids",
      "--threads", "1",       "--output_dir", place_.path("out")};
  for (int size = 16; size < 280; ++size) {  // far more than can be done before the signal arrives
    words.push_back("--methods");
    words.push_back("h2o(size=" + std::to_string(size) + ",window=8)");
  }
  testing::Program program(words);
  const auto finished = [&] {
    std::error_code error;
    std::filesystem::directory_iterator files(place_.path("out"), error);
    return !error && std::distance(files, {}) > 0;
  };
  for (int tries = 0; tries < 12000 && program.running() && !finished(); ++tries) usleep(10000);
  program.interrupt();
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  const json written = summary();
  EXPECT_EQ(written.at("interrupted"), true);
  EXPECT_GE(written.at("methods").size(), 1u);
  EXPECT_EQ(written.at("methods").at(0).at("method"), "baseline");
}

TEST(PplHelp, ShowsExamples) {
  const ProgramResult result = run_kvlab({"ppl", "--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("kvlab ppl --press_sequence no_press,knorm,streaming_llm"));
}

}  // namespace
}  // namespace kvlab
