// `kvlab compare --match` and `--controls`.
#include <gmock/gmock.h>

#include "cli/compare_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::ProgramResult;
using CompareMatch = testing::CompareRun;

TEST_F(CompareMatch, EveryRowSeesTheSameBytes) {
  const std::string data = place_.documents("data.jsonl", {200, 200, 200});
  const ProgramResult result =
      compare({"--methods", "knorm h2o(free_density=0.1,window=16) knorm(threshold=-3,window=16) kvzap",
               "--match", "bytes_seen=0.4"},
              data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json written = summary();
  EXPECT_EQ(written.at("config").at("documents"), 2) << "one of three calibrates";
  int matched = 0;
  for (const json& method : written.at("methods")) {
    if (method.at("match").is_null()) continue;
    ++matched;
    SCOPED_TRACE(method.at("name"));
    EXPECT_EQ(method.at("status"), "OK");
    EXPECT_NEAR(method.at("match").at("calibration_seen").get<double>(), 0.4, 0.004);
    EXPECT_EQ(method.at("match").at("seen"), method.at("density_seen"));
    EXPECT_EQ(method.at("match").at("calibration_documents"), 1);
  }
  EXPECT_EQ(matched, 7) << "three methods and four controls";
  EXPECT_EQ(row(written, "KVzap").at("status"), "SKIPPED");
  const json oracle = row(written, "Oracle (control)");
  EXPECT_EQ(oracle.at("non_causal"), true);
  EXPECT_TRUE(oracle.at("gap_to_oracle").is_null());
  const json knorm = row(written, "Knorm");
  const double best = std::min(oracle.at("delta_nll").get<double>(),
                               row(written, "Oracle, uneven (control)").at("delta_nll").get<double>());
  EXPECT_NEAR(knorm.at("gap_to_oracle").get<double>(), knorm.at("delta_nll").get<double>() - best, 1e-12);
  EXPECT_THAT(result.out, HasSubstr("to oracle"));
  EXPECT_THAT(result.out, HasSubstr("found in 1 run"));
}

TEST_F(CompareMatch, InfeasibleRowsSayWhy) {
  const std::string data = place_.documents("data.jsonl", {200, 200});
  ASSERT_EQ(compare({"--methods", "knorm(threshold=-3)", "--match", "bytes_seen=0.3"}, data).exit_code, 0);
  const json method = row(summary(), "Knorm(threshold=-3)");
  EXPECT_EQ(method.at("status"), "INFEASIBLE");
  EXPECT_THAT(method.at("reason").get<std::string>(), HasSubstr("what is protected is already"));
  EXPECT_TRUE(method.at("ppl").is_null());
  EXPECT_GT(method.at("match").at("protected_seen").get<double>(), 0.3);
}

TEST_F(CompareMatch, ControlsWithoutMatching) {
  const std::string data = place_.documents("data.jsonl", {200});
  ASSERT_EQ(compare({"--methods", "knorm", "--controls", "--compression_ratio", "0.75"}, data).exit_code, 0);
  EXPECT_THAT(row(summary(), "Oracle (control)").at("recipe").get<std::string>(), HasSubstr("keep=0.25"));
  EXPECT_THAT(row(summary(), "Recency (control)").at("recipe").get<std::string>(),
              HasSubstr("keep=0.25,sinks=0"));
  EXPECT_TRUE(row(summary(), "Knorm").at("match").is_null());
}

TEST_F(CompareMatch, MatchingWithoutControls) {
  const std::string data = place_.documents("data.jsonl", {200, 200});
  ASSERT_EQ(compare({"--methods", "recency", "--match", "bytes_seen=0.4", "--no_controls"}, data).exit_code,
            0);
  const json written = summary();
  for (const json& method : written.at("methods"))
    EXPECT_EQ(method.at("control"), false) << method.at("name");
  EXPECT_EQ(row(written, "Recency").at("status"), "OK");
}

TEST_F(CompareMatch, AllButWhatIsLeftOut) {
  const std::string data = place_.documents("data.jsonl", {40});
  ASSERT_EQ(compare({"--methods", "all", "--leave_out", "oracle cam"}, data).exit_code, 0);
  const json written = summary();
  for (const json& method : written.at("methods")) {
    EXPECT_NE(method.at("name"), "Oracle");
    EXPECT_NE(method.at("name"), "CaM");
  }
  EXPECT_EQ(row(written, "Recency").at("status"), "OK");
}

TEST_F(CompareMatch, AFallbackNamesWhatItEquals) {
  const std::string data = place_.documents("data.jsonl", {100});
  ASSERT_EQ(compare({"--methods", "h2o(size=36,sinks=4,window=32) streaming_llm(sinks=4,window=32)"}, data)
                .exit_code,
            0);
  const json fallback = row(summary(), "H2O(size=36,sinks=4,window=32)");
  EXPECT_EQ(fallback.at("status"), "FALLBACK");
  EXPECT_THAT(fallback.at("reason").get<std::string>(),
              HasSubstr("it equals streaming_llm(sinks=4,window=32)"));
  EXPECT_NEAR(fallback.at("nll").get<double>(),
              row(summary(), "StreamingLLM(sinks=4,window=32)").at("nll").get<double>(), 1e-5);
}

TEST_F(CompareMatch, Mistakes) {
  const std::string data = place_.documents("data.jsonl", {60, 60});
  const auto refused = [&](const std::vector<std::string>& flags, const std::string& text) {
    const ProgramResult result = compare(flags, data);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  refused({"--match", "0.5"}, "expected bytes_seen=F");
  refused({"--match", "bytes_seen=1.5"}, "expected bytes_seen=F");
  refused({"--match", "bytes_seen=0.5x"}, "expected bytes_seen=F");
  refused({"--match_documents", "1"}, "needs --match");
  refused({"--match", "bytes_seen=0.5", "--match_documents", "2"}, "leaves none to compare on");
  refused({"--methods", "knorm", "--match", "bytes_seen=0.5", "--thresholds", "-2,-3"},
          "finds the thresholds itself");
  refused({"--methods", "all", "--leave_out", "orakel"}, "did you mean 'oracle'");
}

}  // namespace
}  // namespace kvlab
