// Packed files, folders with splits, and the flags that choose among them, as a user gives them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/packed.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;

// A data set of token ids: two shards of a test split, the first packed, and a validation split.
class DataFlagsTest : public ::testing::Test {
 protected:
  DataFlagsTest() {
    std::filesystem::create_directories(place_.path("set/small"));
    place_.documents("first.jsonl", {40, 50});
    place_.documents("second.jsonl", {30, 45});
    place_.write("set/small/test-00000-of-00002.jsonl.gz", gzipped(place_.read("first.jsonl")));
    place_.write("set/small/test-00001-of-00002.jsonl.zst", zstd_packed(place_.read("second.jsonl")));
    place_.write("set/small/validation.jsonl", place_.read("second.jsonl"));
    place_.write("both.jsonl", place_.read("first.jsonl") + place_.read("second.jsonl"));
  }
  ProgramResult run(const std::string& command, const std::vector<std::string>& extra) const {
    std::vector<std::string> arguments{
        command,     "--model", place_.model(), "--tokens_field",  "ids", "--dtype", "f32",
        "--threads", "1",       "--output_dir", place_.path("out")};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_kvlab(arguments);
  }
  json config(const std::string& file) const { return json::parse(place_.read("out/" + file)).at("config"); }

  testing::TinyWorkplace place_;
};

TEST_F(DataFlagsTest, ShardsAreTheFileThatHoldsBoth) {
  const std::vector<std::string> flags{"--methods", "none", "--no_heatmaps", "--quiet"};
  const auto compare = [&](std::vector<std::string> data) {
    data.insert(data.end(), flags.begin(), flags.end());
    const ProgramResult result = run("compare", data);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return config("detailed_results.json");
  };
  const json split =
      compare({"--data_path", place_.path("set"), "--split", "test", "--dataset-config", "small"});
  const json file = compare({"--data_path", place_.path("both.jsonl")});
  EXPECT_EQ(split.at("documents"), 4);
  EXPECT_EQ(split.at("token_set"), file.at("token_set"));
  EXPECT_EQ(split.at("split"), "test");
  EXPECT_EQ(split.at("dataset_config"), "small");
  EXPECT_TRUE(file.at("split").is_null());
}

TEST_F(DataFlagsTest, PplNamesItsFoldersAfterTheSplit) {
  const ProgramResult result =
      run("ppl", {"--data_path", place_.path("set/"), "--split", "val", "--protocol", "chunks",
                  "--max_length", "20", "--max_samples", "2", "--methods", "none", "--no_plots"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json config = json::parse(place_.read("out/ppl_summary.json")).at("config");
  EXPECT_EQ(config.at("dataset"), "set-val");
  EXPECT_EQ(config.at("windows"), 2);
  bool found = false;
  for (const auto& entry : std::filesystem::directory_iterator(place_.path("out")))
    found |= entry.path().filename().string().starts_with("set-val__");
  EXPECT_TRUE(found);
}

TEST_F(DataFlagsTest, MistakesNameWhatIsThere) {
  const auto refusal = [&](const std::vector<std::string>& flags) {
    const ProgramResult result = run("ppl", flags);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal({"--data_path", place_.path("set")}),
              HasSubstr("holds several splits; choose one with --split (test, validation)"));
  EXPECT_THAT(refusal({"--data_path", place_.path("set"), "--split", "train"}),
              AllOf(HasSubstr("--split train: "), HasSubstr("(splits there: test, validation)")));
  EXPECT_THAT(refusal({"--data_path", place_.path("set"), "--dataset_config", "large"}),
              HasSubstr("(folders of data there: small)"));
  EXPECT_THAT(refusal({"--data_path", place_.path("both.jsonl"), "--split", "test"}),
              HasSubstr("--split and --dataset_config need a folder"));
  const std::string packed = gzipped(place_.read("both.jsonl"));
  place_.write("cut.jsonl.gz", packed.substr(0, packed.size() / 2));
  EXPECT_THAT(refusal({"--data_path", place_.path("cut.jsonl.gz")}),
              AllOf(HasSubstr("cut.jsonl.gz: ends at byte"), HasSubstr("cut off")));
}

}  // namespace
}  // namespace kvlab
