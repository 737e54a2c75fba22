// What a first-time user types: the built-in model and corpus, text instead of token ids.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "golden/golden_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using testing::default_model_path;
using testing::ProgramResult;
using testing::run_kvlab;

TEST(DefaultModelProgram, ComparesOnTheBuiltInCorpus) {
  KVLAB_SKIP_UNDER_SANITIZERS("the default model");
  KVLAB_NEED_FILE(default_model_path());
  const TempFolder folder;
  const ProgramResult result =
      run_kvlab({"compare", "--dtype", "f32", "--max_samples", "1", "--max_length", "96", "--methods",
                 "knorm", "--output_dir", folder.path().string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json summary = json::parse(folder.read("comparison_summary.json"));
  EXPECT_EQ(summary.at("methods").size(), 3u);
  EXPECT_EQ(summary.at("methods").at(0).at("tokens_scored"), 95);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "Knorm_compression_heatmap.png"));
}

TEST(DefaultModelProgram, TextGetsBosWhenAskedFor) {
  KVLAB_SKIP_UNDER_SANITIZERS("the default model");
  KVLAB_NEED_FILE(default_model_path());
  const TempFolder folder;
  const std::string text = folder.write("text.txt", "Once upon a time there was a cache.").string();
  const ProgramResult plain = run_kvlab({"score", "--text", text});
  const ProgramResult bos = run_kvlab({"score", "--text", text, "--bos", "yes"});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  ASSERT_EQ(bos.exit_code, 0) << bos.err;
  auto ids = json::parse(bos.out).at("ids").get<std::vector<int32_t>>();
  EXPECT_EQ(ids.front(), 1);
  ids.erase(ids.begin());
  EXPECT_EQ(json::parse(plain.out).at("ids").get<std::vector<int32_t>>(), ids);
}

// The corpus's recorded losses, through the command line.
TEST(DefaultModelProgram, ScoreGivesTheRecordedLosses) {
  KVLAB_SKIP_UNDER_SANITIZERS("the default model");
  KVLAB_NEED_FILE(default_model_path());
  const json document =
      testing::read_json(KVLAB_SOURCE_DIR "/tests/goldens/corpus.json").at("documents").at(0);
  const TempFolder folder;
  const std::string ids = folder.write("ids.json", json{{"tokens", document.at("tokens")}}.dump()).string();
  const std::string recipe = "streaming_llm(sinks=4,window=64)";
  const ProgramResult result = run_kvlab({"score", "--ids", ids, "--dtype", "f32", "--recipe", recipe});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json scored = json::parse(result.out);
  const json& golden = document.at("stream").at(recipe);
  EXPECT_LE(testing::loss_distance(scored.at("nll").get<std::vector<float>>(), golden.at("nll")).mean, 1e-4);
  EXPECT_NEAR(scored.at("density").get<double>(), 1 - golden.at("evicted").get<double>(), 1e-3);
}

}  // namespace
}  // namespace kvlab
