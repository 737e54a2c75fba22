// kvlab bench: what it prints and writes, and how it answers mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;
using testing::TinyWorkplace;

class Bench : public ::testing::Test {
 protected:
  static ProgramResult bench(const std::vector<std::string>& extra) {
    std::vector<std::string> arguments{"bench", "--threads", "1", "--quiet"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_kvlab(arguments);
  }
  static void expect_refused(const std::vector<std::string>& extra,
                             const ::testing::Matcher<const std::string&>& message) {
    const ProgramResult result = bench(extra);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, message);
  }
  json written() const { return json::parse(place_.read("bench.json")); }

  TinyWorkplace place_;
};

TEST_F(Bench, AShapeByItsFirstLayer) {
  const ProgramResult result =
      bench({"--shape", "smollm2-135m", "--layers", "1", "--length", "64", "--dtype", "f32", "--methods",
             "none,streaming_llm(size=32)", "--memory", "2GiB", "--out", place_.path("bench.json")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("smollm2-135m (llama)"), HasSubstr("1 of 30 layers"),
                                HasSubstr("StreamingLLM(size=32)"), HasSubstr("The whole model, 30 layers"),
                                HasSubstr("time measured × layers / layers run")));
  const json file = written();
  EXPECT_EQ(file.at("config").at("shape"), "smollm2-135m");
  EXPECT_EQ(file.at("model").at("layers"), 30);
  EXPECT_EQ(file.at("model").at("layers_run"), 1);
  EXPECT_EQ(file.at("memory_bytes"), int64_t{2} << 30);
  EXPECT_TRUE(file.at("environment").contains("cpu"));
  ASSERT_EQ(file.at("rows").size(), 2u);
  // In f32 nothing is rounded up: 3538944 weights a layer, 49152 x 576 of the head.
  EXPECT_EQ(file.at("model").at("weight_bytes_per_layer"), 4 * 3538944);
  EXPECT_EQ(file.at("model").at("head_bytes"), 4 * 49152 * 576);
  for (const json& row : file.at("rows")) {
    const json& whole = row.at("whole_model");
    EXPECT_DOUBLE_EQ(whole.at("seconds"), 30 * row.at("seconds").get<double>());
    EXPECT_DOUBLE_EQ(whole.at("memory_bytes"),
                     30.0 * (4 * 3538944 + row.at("cache_bytes_peak_per_layer").get<double>()) +
                         4.0 * 49152 * 576 + row.at("working_bytes").get<double>());
  }
}

TEST_F(Bench, TheSameSeedGivesTheSameCaches) {
  const std::vector<std::string> arguments{"--shape",  "pythia-70m", "--layers",  "1",
                                           "--length", "40,80",      "--methods", "h2o(keep=0.5)",
                                           "--seed",   "3",          "--out",     place_.path("bench.json")};
  ASSERT_EQ(bench(arguments).exit_code, 0);
  const json first = written();
  ASSERT_EQ(bench(arguments).exit_code, 0);
  const json second = written();
  ASSERT_EQ(first.at("rows").size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(first.at("rows")[i].at("cache_bytes_end"), second.at("rows")[i].at("cache_bytes_end"));
  EXPECT_EQ(first.at("rows")[1].at("tokens"), 80);
}

TEST_F(Bench, AModelsFile) {
  const ProgramResult result = bench({"--model", place_.model(), "--length", "32", "--methods", "none",
                                      "--format", "markdown", "--out", place_.path("bench.json")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("| Baseline"));
  EXPECT_EQ(written().at("config").at("model"), place_.model());
  EXPECT_EQ(written().at("model").at("layers_run"), 2);
}

TEST_F(Bench, Mistakes) {
  expect_refused({"--shape", "llama-9"},
                 AllOf(HasSubstr("--shape llama-9"), HasSubstr("llama-3.1-8b"), HasSubstr("smollm2-135m")));
  expect_refused({"--shape", "pythia-70m", "--model", place_.model()}, HasSubstr("not both"));
  expect_refused({"--shape", "pythia-70m", "--layers", "7"}, AllOf(HasSubstr("--layers 7"), HasSubstr("6")));
  expect_refused({"--shape", "pythia-70m", "--layers", "0"}, HasSubstr("--layers 0"));
  expect_refused({"--shape", "pythia-70m", "--length", "0"}, HasSubstr("--length 0"));
  expect_refused({"--shape", "pythia-70m", "--memory", "10MiB"},
                 AllOf(HasSubstr("--memory 10MiB"), HasSubstr("weights")));
  expect_refused({"--shape", "pythia-70m", "--methods", "knrom"}, HasSubstr("did you mean 'knorm'?"));
  expect_refused({"--shape", "pythia-70m", "--format", "csv"}, HasSubstr("text or markdown"));
  expect_refused({"--shape", "pythia-70m", "--out", std::filesystem::temp_directory_path().string()},
                 HasSubstr("is a folder"));
}

}  // namespace
}  // namespace kvlab
