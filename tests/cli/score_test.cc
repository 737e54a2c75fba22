// `kvlab score`, and the small commands that only print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cache/recipe.h"
#include "cli/program.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;
using testing::TinyWorkplace;

class Score : public ::testing::Test {
 protected:
  json score(const std::vector<std::string>& extra) {
    std::vector<std::string> arguments{"score",     "--model", place_.model(), "--dtype", "f32",
                                       "--threads", "1"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const ProgramResult result = run_kvlab(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return json::parse(result.out);  // fails on anything but one JSON value
  }
  TinyWorkplace place_;
  const std::vector<int> ids_ = testing::tiny_ids(0, 60);
  const std::string file_ = place_.write("ids.json", json(ids_).dump());
};

TEST_F(Score, PrintsOneObject) {
  const json result = score({"--ids", file_, "--recipe", "h2o(size=20,window=10)"});
  EXPECT_EQ(result.at("ids").get<std::vector<int>>(), ids_);
  const auto nll = result.at("nll").get<std::vector<double>>();
  ASSERT_EQ(nll.size(), 59u);
  EXPECT_NEAR(result.at("ppl").get<double>(), std::exp(std::accumulate(nll.begin(), nll.end(), 0.0) / 59),
              1e-4);
  EXPECT_NEAR(result.at("density").get<double>(), 20 / 60.0, 1e-9);
  EXPECT_GT(result.at("density_seen").get<double>(), result.at("density").get<double>());
  EXPECT_GT(result.at("kv_bytes").get<int64_t>(), 0);
  EXPECT_FALSE(result.contains("live_at_end"));
}

TEST_F(Score, ObjectsWithTokensAndFewerTokens) {
  const std::string object = place_.write("object.json", json{{"tokens", ids_}}.dump());
  EXPECT_EQ(score({"--ids", object}).at("nll"), score({"--ids", file_}).at("nll"));
  const json shorter = score({"--ids", file_, "--max-length", "10"});
  EXPECT_EQ(shorter.at("ids").size(), 10u);
  EXPECT_EQ(shorter.at("nll").size(), 9u);
}

TEST_F(Score, PrefixGivesTheTokensAfterTheContext) {
  const json all = score({"--ids", file_});
  const json prefix = score({"--ids", file_, "--protocol", "prefix", "--context", "40"});
  ASSERT_EQ(prefix.at("nll").size(), 20u);  // tokens 40 ... 59
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(prefix.at("nll")[i].get<double>(), all.at("nll")[39 + i].get<double>(), 1e-4);
  }
  const json evicted = score(
      {"--ids", file_, "--protocol", "prefix", "--context", "40", "--recipe", "knorm(keep=0.5,at=context)"});
  EXPECT_EQ(evicted.at("nll").size(), 20u);
  // The first token after the context is said by the last token of the context, which still saw everything.
  EXPECT_NEAR(evicted.at("nll")[0].get<double>(), all.at("nll")[39].get<double>(), 1e-4);
  EXPECT_NEAR(evicted.at("density").get<double>(), (20 + 20) / 60.0, 1e-9);
}

TEST_F(Score, LiveEntriesPerLayerAndHead) {
  const json live =
      score({"--ids", file_, "--recipe", "streaming_llm(sinks=2,window=8)", "--live"}).at("live_at_end");
  const std::vector<int> expected{0, 1, 52, 53, 54, 55, 56, 57, 58, 59};
  ASSERT_EQ(live.size(), 2u);
  for (const json& layer : live) {
    ASSERT_EQ(layer.size(), 2u);
    for (const json& head : layer) EXPECT_EQ(head.get<std::vector<int>>(), expected);
  }
}

TEST(List, JsonNamesEveryScorer) {
  const ProgramResult result = run_kvlab({"list", "--json"});
  ASSERT_EQ(result.exit_code, 0);
  const json list = json::parse(result.out);
  std::vector<std::string> listed, named;
  for (const json& entry : list.at("methods")) listed.push_back(entry.at("name"));
  for (const json& entry : list.at("named")) named.push_back(entry.at("name"));
  for (const ScorerInfo* info : registry_scorers()) EXPECT_THAT(listed, ::testing::Contains(info->name));
  for (const NamedInfo* info : registry_named()) EXPECT_THAT(named, ::testing::Contains(info->name));
  const ProgramResult text = run_kvlab({"list"});
  for (const ScorerInfo* info : registry_scorers())
    EXPECT_THAT(text.out, HasSubstr("\n  " + info->name + " - "));
  const std::string two_phase = list.at("two_phase").at("recipe");
  EXPECT_THAT(text.out, HasSubstr("\n  " + two_phase + "\n"));
}

TEST(Info, SaysWhatAModelHolds) {
  const TinyWorkplace place;
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"info", place.model()}, {"info", "--model", place.model()}}) {
    const ProgramResult result = run_kvlab(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    for (const char* text : {"llama", "4 query, 2 KV, of 16", "512 tokens", "none: "}) {
      EXPECT_THAT(result.out, HasSubstr(text));
    }
  }
}

// In a Hugging Face folder the tokenizer is a file beside the weights.
TEST(Info, FindsTheTokenizerOfAFolder) {
  const TinyWorkplace place;
  const auto folder = testing::write_tiny_hf({}, place.path("hf"));
  const ProgramResult result = run_kvlab({"info", folder.string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("tokenizer.json"));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("not a GGUF file")));
}

TEST(Help, VersionAndExamples) {
  EXPECT_THAT(run_kvlab({"--version"}).out, ::testing::StartsWith("kvlab "));
  const ProgramResult all = run_kvlab({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* command : {"compare", "score", "list", "info"}) {
    EXPECT_THAT(all.out, HasSubstr(command));
    const ProgramResult one = run_kvlab({command, "--help"});
    EXPECT_EQ(one.exit_code, 0);
    EXPECT_THAT(one.out, HasSubstr(std::string("Examples:\n  kvlab ") + command)) << command;
  }
}

}  // namespace
}  // namespace kvlab
