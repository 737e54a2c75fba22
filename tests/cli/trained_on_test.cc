// Fitted and evaluated on one text: `kvlab compare`, `ppl` and `score` say so.
#include <gmock/gmock.h>

#include "base/random.h"
#include "cli/compare_support.h"
#include "format/safetensors.h"
#include "format/trained_on.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;
using testing::tiny_ids;

class TrainedOnProgram : public testing::CompareRun {
 protected:
  // A linear KVzap scorer of the tiny model, with a record of `trained` where that is given.
  std::string scorer(const std::string& name, const std::vector<int>& trained = {}) const {
    const std::string folder = place_.path(name);
    std::filesystem::create_directory(folder);
    place_.write(name + "/config.json", R"({"n_modules":2,"input_dim":64,"output_dim":2,"hidden_dim":null})");
    std::vector<NamedTensor> tensors;
    for (const std::string layer : {"layers.0", "layers.1"}) {
      std::vector<float> weights(128);
      for (size_t i = 0; i < weights.size(); ++i)
        weights[i] = entry_uniform(tensors.size(), 0, 0, 0, i) - 0.5f;
      tensors.push_back({layer + ".weight", {2, 64}, weights});
      tensors.push_back({layer + ".bias", {2}, {0, 1}});
    }
    write_safetensors(folder + "/model.safetensors", tensors);
    if (!trained.empty()) {
      TrainedOn record(96);
      record.add(std::vector<int32_t>(trained.begin(), trained.end()), "books.txt");
      record.write(trained_on_path(folder));
    }
    return folder;
  }
};

TEST_F(TrainedOnProgram, RowsOfAScorerThatSawTheTextAreMarked) {
  const std::string data = place_.documents("data.jsonl", {200, 200});
  const std::string saw = scorer("saw", tiny_ids(1, 200)), other = scorer("other", tiny_ids(7, 200));
  const ProgramResult result =
      compare({"--methods", "kvzap(keep=0.5,model=\"" + saw + "\") kvzap(keep=0.4,model=\"" + other +
                                "\") kvzap(keep=0.3,model=\"" + scorer("bare") + "\") knorm"},
              data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = summary().at("methods"), details_rows = details().at("methods");
  const size_t first = rows.size() - 4;
  EXPECT_EQ(rows[first].at("trained_on_this").at("documents"), 1);
  EXPECT_EQ(rows[first].at("trained_on_this").at("shingles"), 3);
  EXPECT_EQ(details_rows[first].at("trained_on_this"), rows[first].at("trained_on_this"));
  EXPECT_TRUE(rows[first].at("pareto").is_null()) << "it takes no part";
  EXPECT_EQ(rows[first + 1].at("trained_on_this"), false);
  EXPECT_EQ(rows[first + 1].at("pareto").is_null(), rows[first + 1].at("status") != "OK");
  EXPECT_TRUE(rows[first + 2].at("trained_on_this").is_null());
  EXPECT_THAT(rows[first + 2].at("trained_on_reason").get<std::string>(), HasSubstr("no record"));
  EXPECT_EQ(rows[first + 3].at("trained_on_this"), false);
  EXPECT_THAT(result.out, HasSubstr("OK TRAINED-ON-THIS ["));
  EXPECT_THAT(result.out,
              HasSubstr("TRAINED-ON-THIS: 1 of the 2 texts evaluated holds what it was fitted on"));
  EXPECT_THAT(result.out, HasSubstr("no record of the text that scorer kvzap was trained on"));
}

TEST_F(TrainedOnProgram, DamagedRecordsStopTheRunBeforeAnyWork) {
  const std::string folder = scorer("zap");
  place_.write("zap/trained_on.json", "{}");
  const ProgramResult result = compare({"--methods", "kvzap(keep=0.5)", "--kvzap_scorer_model", folder},
                                       place_.documents("d.jsonl", {60}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("trained_on.json: 'format' is missing"));
}

TEST_F(TrainedOnProgram, CalibratingAndComparingOnOneText) {
  // The first two documents calibrate; the fourth is the first again.
  std::string lines;
  for (const int document : {0, 1, 2, 0})
    lines += json{{"id", "d"}, {"ids", tiny_ids(document, 150)}}.dump() + "\n";
  const std::string data = place_.write("twice.jsonl", lines);
  const ProgramResult result =
      compare({"--methods", "knorm", "--match", "bytes_seen=0.5", "--match_documents", "2"}, data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(row(summary(), "Knorm").at("trained_on_this").at("documents"), 1);
  EXPECT_THAT(result.out, HasSubstr("(budget (--match); 2 shingles of 64 tokens)"));
  EXPECT_EQ(summary().at("config").at("matched_on"), "matched_on.json");
  const TrainedOn record = TrainedOn::read(place_.path("out/matched_on.json"));
  EXPECT_EQ(record.texts().size(), 2u);
  EXPECT_EQ(record.shingles(), 4);
}

TEST_F(TrainedOnProgram, ValuesFromAnEarlierMatchAreChecked) {
  const std::string data = place_.documents("data.jsonl", {150, 150});
  ASSERT_EQ(compare({"--methods", "knorm", "--match", "bytes_seen=0.5"}, data).exit_code, 0);
  EXPECT_EQ(row(summary(), "Knorm").at("trained_on_this"), false) << "documents that differ";
  const std::string found = row(summary(), "Knorm").at("recipe");
  const std::string record = place_.write("record.json", place_.read("out/matched_on.json"));
  ASSERT_EQ(compare({"--methods", found, "--matched_on", record}, data).exit_code, 0);
  const json again = summary().at("methods").back();
  EXPECT_EQ(again.at("trained_on_this").at("documents"), 1) << "the first one calibrated";
  const ProgramResult missing = compare({"--methods", "knorm", "--matched_on", place_.path("none")}, data);
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("none"));
}

TEST_F(TrainedOnProgram, PplAndScoreSayItToo) {
  const std::string data = place_.documents("data.jsonl", {200, 200});
  const std::string folder = scorer("saw", tiny_ids(0, 200));
  const ProgramResult ppl =
      testing::run_kvlab({"ppl", "--model", place_.model(), "--data_path", data, "--tokens_field", "ids",
                          "--dtype", "f32", "--threads", "1", "--output_dir", place_.path("out"), "--methods",
                          "kvzap knorm", "--kvzap_scorer_model", folder, "--no_plots"});
  ASSERT_EQ(ppl.exit_code, 0) << ppl.err;
  EXPECT_THAT(ppl.out, HasSubstr("TRAINED-ON-THIS: 1 of the 2 texts"));
  const json rows = json::parse(place_.read("out/ppl_summary.json")).at("methods");
  EXPECT_EQ(rows[1].at("trained_on_this").at("documents"), 1);
  EXPECT_EQ(rows[2].at("trained_on_this"), false);

  const std::string ids = place_.write("ids.json", json(tiny_ids(0, 200)).dump());
  const ProgramResult score =
      testing::run_kvlab({"score", "--model", place_.model(), "--ids", ids, "--dtype", "f32", "--threads",
                          "1", "--recipe", "kvzap(keep=0.5,model=\"" + folder + "\")"});
  ASSERT_EQ(score.exit_code, 0) << score.err;
  EXPECT_EQ(json::parse(score.out).at("trained_on_this").at("shingles"), 3);
  EXPECT_THAT(score.err, HasSubstr("warning: TRAINED-ON-THIS"));
}

}  // namespace
}  // namespace kvlab
