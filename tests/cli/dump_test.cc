// `kvlab dump` as a user runs it, and what `kvlab compare` makes of its files.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "format/safetensors.h"
#include "support/damage.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;
using testing::TinyWorkplace;

class DumpCommand : public ::testing::Test {
 protected:
  ProgramResult kvlab(const std::string& command, const std::vector<std::string>& extra) const {
    std::vector<std::string> arguments{command,     "--model", place_.model(), "--dtype", "f32",
                                       "--threads", "1",       "--quiet"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_kvlab(arguments);
  }
  ProgramResult dump(const std::vector<std::string>& extra) const {
    std::vector<std::string> arguments{"--ids", ids_};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return kvlab("dump", arguments);
  }
  TinyWorkplace place_;
  const std::string ids_ = place_.write("ids.json", nlohmann::json(testing::tiny_ids(0, 60)).dump());
  const std::string out_ = place_.path("d.safetensors");
};

TEST_F(DumpCommand, WritesAFileWithItsOrigin) {
  const ProgramResult result = dump({"--out", out_, "--recipe", "knorm(keep=0.5)", "--layers", "0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("60 tokens, 59 scored"), HasSubstr("density 0.5")));
  const auto file = open_safetensors(out_);
  EXPECT_EQ(file->shape("layers.0.k"), (std::vector<int64_t>{60, 2, 16}));
  EXPECT_TRUE(file->has("keep"));
  EXPECT_FALSE(file->has("layers.1.k"));
  EXPECT_THAT(
      testing::read_bytes(out_).substr(0, 2000),
      AllOf(HasSubstr("\"recipe\":\"knorm(keep=0.5,sinks=0,every=1)\""), HasSubstr("\"token_set\":\""),
            HasSubstr("\"model\":\"tiny\""), HasSubstr("\"kvlab_version\":\"")));
}

TEST_F(DumpCommand, DoesNotReplaceAFileUnasked) {
  ASSERT_EQ(dump({"--out", place_.path("folder")}).exit_code, 0);
  const std::string path = place_.path("folder/dump.safetensors");
  ASSERT_TRUE(std::filesystem::exists(path));
  const ProgramResult again = dump({"--out", path});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, AllOf(HasSubstr("is there already"), HasSubstr("--force")));
  EXPECT_EQ(dump({"--out", path, "--force"}).exit_code, 0);
}

TEST_F(DumpCommand, MistakesBeforeAnyWork) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "give --out"},
      {{"--out", out_, "--what", "k,x"}, "'x' is not known"},
      {{"--out", out_, "--layers", "0,"}, "--layers '0,' is not understood"},
      {{"--out", out_, "--layers", "7"}, "the model has layers 0 to 1"},
      {{"--out", out_, "--document", "1"}, "--document needs --text"},
      {{"--out", out_, "--context", "9"}, "--context needs --protocol prefix"},
      {{"--out", ids_}, "cannot be made"},
  };
  for (const auto& [arguments, said] : cases) {
    const ProgramResult result = dump(arguments);
    EXPECT_EQ(result.exit_code, 2) << said;
    EXPECT_THAT(result.err, HasSubstr(said));
  }
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(DumpCommand, ComparisonsReadWhatItWrote) {
  ASSERT_EQ(dump({"--out", out_, "--recipe", "h2o(keep=0.5)", "--what", "keep"}).exit_code, 0);
  const std::string data = place_.documents("data.jsonl", {60});
  const ProgramResult result = kvlab(
      "compare", {"--data_path", data, "--tokens_field", "ids", "--no_heatmaps", "--output_dir",
                  place_.path("out"), "--methods", "h2o(keep=0.5)", "external(evict_at=\"" + out_ + "\")"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto summary = nlohmann::json::parse(place_.read("out/comparison_summary.json"));
  const auto& methods = summary.at("methods");
  const auto& own = methods.at(methods.size() - 2);
  const auto& imposed = methods.back();
  EXPECT_EQ(imposed.at("status"), "OK");
  EXPECT_NEAR(imposed.at("ppl").get<double>(), own.at("ppl").get<double>(), 1e-3);
  EXPECT_EQ(imposed.at("density_seen"), own.at("density_seen"));
  EXPECT_TRUE(imposed.at("effective_window").is_null());
}

TEST_F(DumpCommand, AFileOfEvictionsFitsNoHalf) {
  ASSERT_EQ(dump({"--out", out_}).exit_code, 0);
  const ProgramResult result =
      kvlab("compare", {"--data_path", place_.documents("data.jsonl", {60}), "--tokens_field", "ids",
                        "--match", "bytes_seen=0.5", "--methods", "external(evict_at=\"" + out_ + "\")"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--match cuts a single document in two"));
}

}  // namespace
}  // namespace kvlab
