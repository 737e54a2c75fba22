// kvlab train as a user runs it.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;
using testing::run_kvlab;

class TrainCommand : public ::testing::Test {
 protected:
  ProgramResult train(const std::vector<std::string>& more, const std::string& out = "out") const {
    std::vector<std::string> arguments{
        "train",       "kvzap", "--model",          place_.model(), "--dtype",      "f32",
        "--data_path", data_,   "--tokens_field",   "ids",          "--passages",   "6",
        "--samples",   "20",    "--passage_tokens", "40",           "--output_dir", place_.path(out)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_kvlab(arguments);
  }
  testing::TinyWorkplace place_;
  std::string data_ = place_.documents("data.jsonl", {400, 400});
};

TEST_F(TrainCommand, WritesTheScorerAndItsRecord) {
  const ProgramResult result = train({});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("6 passages fitted, 4 held out"), HasSubstr("written: ")));
  const auto record = nlohmann::json::parse(place_.read("out/kvlab.json"));
  const std::string command = record.at("command");
  EXPECT_THAT(command, AllOf(HasSubstr("kvlab train kvzap"), HasSubstr("--passages 6"),
                             HasSubstr("--data_path data.jsonl"), Not(HasSubstr("--output_dir"))));
  EXPECT_EQ(record.at("texts").size(), 2u);
  const ProgramResult score =
      run_kvlab({"score", "--model", place_.model(), "--dtype", "f32", "--ids",
                 place_.write("ids.json", "[1,2,3,4,5,6,7,8,9]"), "--recipe",
                 "kvzap(keep=0.5,sinks=0,window=0)", "--kvzap_scorer_model", place_.path("out")});
  EXPECT_EQ(score.exit_code, 0) << score.err;
}

TEST_F(TrainCommand, HelpListsTrainersAndTheirFlags) {
  EXPECT_THAT(run_kvlab({"train", "--help"}).out, HasSubstr("kvzap"));
  EXPECT_THAT(run_kvlab({"train", "kvzap", "--help"}).out,
              AllOf(HasSubstr("--held_out_path"), HasSubstr("integer 1..16777216, default 60"),
                    HasSubstr("2601.07891")));
}

TEST_F(TrainCommand, NamesMistakes) {
  const auto refused = [&](const ProgramResult& result) {
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(refused(run_kvlab({"train"})), HasSubstr("expected duo_attention, expected_attention, kvzap"));
  EXPECT_THAT(refused(run_kvlab({"train", "kvzip"})),
              HasSubstr("kvlab train kvzip is not known (expected duo_attention"));
  EXPECT_THAT(
      refused(run_kvlab({"train", "kvzap", "--passage", "3"})),
      HasSubstr(
          "unknown argument '--passage'; did you mean --passages? (kvlab train kvzap --help lists all)"));
  EXPECT_THAT(refused(train({"--type", "tree"})), HasSubstr("type=tree is not known (expected linear|mlp"));
  EXPECT_THAT(refused(train({"--alpha", "-1"})), HasSubstr("alpha=-1 is out of range"));
  EXPECT_THAT(refused(train({"--seed", "-1"})), HasSubstr("--seed -1"));
  EXPECT_THAT(refused(run_kvlab({"train", "kvzap", "--data_path", data_})),
              HasSubstr("--output_dir FOLDER is needed"));
}

}  // namespace
}  // namespace kvlab
