// Ctrl-C: finished documents are kept, the files stay whole, the exit status is 130.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "cli/compare_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using testing::Program;
using testing::ProgramResult;

class Interrupt : public testing::CompareRun {
 protected:
  std::vector<std::string> arguments(const std::string& data) const {
    return {"compare",
            "--model",
            place_.model(),
            "--data_path",
            data,
            "--tokens_field",
            "ids",
            "--dtype",
            "f32",
            "--threads",
            "1",
            "--output_dir",
            place_.path("out"),
            "--no_heatmaps",
            "--methods",
            "knorm h2o"};
  }
  // False after two minutes without the results of a document.
  bool wait_for_results(Program& program) const {
    for (int tries = 0; tries < 12000; ++tries) {
      if (std::filesystem::exists(place_.path("out/comparison_summary.json"))) return true;
      if (!program.running()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
};

TEST_F(Interrupt, KeepsTheDocumentsThatAllRowsFinished) {
  constexpr int kDocuments = 2000;  // far more than can be done before the signal arrives
  Program program(arguments(place_.documents("data.jsonl", std::vector<int>(kDocuments, 300))));
  ASSERT_TRUE(wait_for_results(program)) << program.wait().err;
  program.interrupt();
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_THAT(result.err, ::testing::HasSubstr("what is finished is kept"));
  const json detailed = details(), written = summary();
  EXPECT_EQ(written.at("interrupted"), true);
  EXPECT_EQ(detailed.at("interrupted"), true);
  const size_t finished = detailed.at("methods").at(0).at("documents").size();
  EXPECT_GE(finished, 1u);
  EXPECT_LT(finished, static_cast<size_t>(kDocuments));
  for (const json& method : detailed.at("methods")) {
    EXPECT_EQ(method.at("documents").size(), finished) << method.at("name");
    EXPECT_EQ(method.at("documents").back().at("index"), finished - 1) << method.at("name");
  }
  for (const json& method : written.at("methods")) {
    EXPECT_EQ(method.at("tokens_scored"), 299 * finished) << method.at("name");
  }
  EXPECT_THAT(result.out, ::testing::HasSubstr(": " + std::to_string(finished) + " document"));
}

TEST_F(Interrupt, BeforeTheFirstDocumentNothingIsWritten) {
  testing::TinyModelOptions options;
  options.layers = 24;
  const auto model = testing::write_tiny_gguf(options, place_.path("deep.gguf"));
  std::vector<std::string> words = arguments(place_.documents("data.jsonl", {512}));
  words[2] = model.string();
  words.back() = "random";
  for (int copy = 0; copy < 200; ++copy)
    words.push_back("h2o(size=" + std::to_string(300 + copy) + ",window=8)");
  Program program(words);
  // The folder is made when everything given was found right; the first document then takes many seconds.
  for (int tries = 0; tries < 12000 && program.running() && !std::filesystem::exists(place_.path("out"));
       ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  program.interrupt();
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_THAT(result.err, ::testing::HasSubstr("nothing was written"));
  EXPECT_FALSE(std::filesystem::exists(place_.path("out/comparison_summary.json")));
}

}  // namespace
}  // namespace kvlab
