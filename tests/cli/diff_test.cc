// `kvlab diff` on what `kvlab compare` wrote.
#include <gmock/gmock.h>

#include "cli/compare_support.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;

class Diff : public testing::CompareRun {
 protected:
  // A comparison in a folder of its own.
  std::string run_into(const std::string& folder, const std::vector<std::string>& methods,
                       const std::string& data, std::vector<std::string> extra = {}) {
    extra.push_back("--methods");
    extra.insert(extra.end(), methods.begin(), methods.end());
    const ProgramResult result = compare(extra, data);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::filesystem::rename(place_.path("out"), place_.path(folder));
    return place_.path(folder);
  }
};

TEST_F(Diff, RowsOfTwoRuns) {
  const std::string data = place_.documents("data.jsonl", std::vector<int>(10, 140));
  const std::string a = run_into("a", {"knorm", "tova"}, data);
  const std::string b = run_into("b", {"knorm", "h2o"}, data, {"--kv_dtype", "bf16"});
  const ProgramResult result = run_kvlab({"diff", a, b});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("differs: kv_dtype: \"f32\" | \"bf16\""), HasSubstr("\nKnorm "),
                                HasSubstr("10 of 10 documents"), HasSubstr("t over 10 documents")));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("TOVA")));

  const json shown = json::parse(run_kvlab({"diff", a, b, "--json"}).out);
  const json stored_a = json::parse(place_.read("a/comparison_summary.json"));
  const json stored_b = json::parse(place_.read("b/comparison_summary.json"));
  ASSERT_EQ(shown.at("rows").size(), 4u) << "three baselines and knorm";
  const json knorm = shown.at("rows").at(3);
  EXPECT_NEAR(knorm.at("nll_a").get<double>(), row(stored_a, "Knorm").at("nll").get<double>(), 1e-9);
  EXPECT_NEAR(knorm.at("nll_b").get<double>(), row(stored_b, "Knorm").at("nll").get<double>(), 1e-9);
  EXPECT_LE(knorm.at("delta_nll_ci95").at(0), knorm.at("delta_nll"));
  EXPECT_GE(knorm.at("delta_nll_ci95").at(1), knorm.at("delta_nll"));
}

TEST_F(Diff, TwoRowsOfOneRun) {
  const std::string data = place_.documents("data.jsonl", std::vector<int>(10, 140));
  const std::string a = run_into("a", {"knorm(keep=0.5)", "tova(keep=0.5)"}, data);
  const json shown =
      json::parse(run_kvlab({"diff", a, a, "--json", "--rows", "knorm(keep=0.5),tova(keep=0.5)"}).out);
  ASSERT_EQ(shown.at("rows").size(), 1u);
  const json stored = json::parse(place_.read("a/comparison_summary.json"));
  EXPECT_NEAR(shown.at("rows").at(0).at("delta_nll").get<double>(),
              row(stored, "TOVA(keep=0.5)").at("delta_nll").get<double>() -
                  row(stored, "Knorm(keep=0.5)").at("delta_nll").get<double>(),
              1e-9);
}

TEST_F(Diff, RefusesOtherTokens) {
  const std::string data = place_.documents("data.jsonl", {80, 70});
  const std::string a = run_into("a", {"knorm"}, data);
  const std::string b = run_into("b", {"knorm"}, data, {"--max_length", "60"});
  const std::string prefix = run_into("p", {"knorm"}, data, {"--protocol", "prefix", "--context", "40"});
  for (const std::string& other : {b, prefix}) {
    const ProgramResult result = run_kvlab({"diff", a, other});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.out, "");
    const auto hash = [&](const std::string& folder) {
      return json::parse(place_.read(folder + "/comparison_summary.json"))
          .at("config")
          .at("token_set")
          .get<std::string>();
    };
    EXPECT_THAT(result.err,
                AllOf(HasSubstr(hash("a")), HasSubstr(hash(other == b ? "b" : "p")), HasSubstr(data)));
  }
}

TEST_F(Diff, RefusesOtherModelsUnlessAllowed) {
  const std::string data = place_.documents("data.jsonl", {80});
  const std::string a = run_into("a", {"knorm"}, data);
  testing::TinyModelOptions options;
  options.seed = 2;
  const std::string model = testing::write_tiny_gguf(options, place_.path("other.gguf")).string();
  const std::string b = place_.path("b");
  ASSERT_EQ(run_kvlab({"compare", "--model", model, "--data_path", data, "--tokens_field", "ids", "--dtype",
                       "f32", "--threads", "1", "--no_heatmaps", "--methods", "knorm", "--output_dir", b})
                .exit_code,
            0);
  const ProgramResult refused = run_kvlab({"diff", a, b});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("different models"), HasSubstr("other.gguf")));
  EXPECT_EQ(run_kvlab({"diff", a, b, "--allow-different-models"}).exit_code, 0);
}

TEST_F(Diff, Mistakes) {
  const std::string data = place_.documents("data.jsonl", {80});
  const std::string a = run_into("a", {"knorm", "kvzap"}, data);
  const auto refusal = [&](const std::vector<std::string>& arguments) {
    const ProgramResult result = run_kvlab(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal({"diff", a, place_.path("nowhere")}), HasSubstr("no such file"));
  EXPECT_THAT(refusal({"diff", a, a, "--rows", "knorm"}), HasSubstr("expected two recipes"));
  EXPECT_THAT(refusal({"diff", a, a, "--rows", "knorm(keep=0.5),h2o(keep=0.5)"}),
              AllOf(HasSubstr("no row 'h2o(keep=0.5)'"), HasSubstr("knorm(keep=0.5,sinks=0,every=1)")));
  EXPECT_THAT(refusal({"diff", a, a, "--rows", "none,KVzap"}), HasSubstr("SKIPPED"));
  EXPECT_THAT(refusal({"diff", a}), HasSubstr("B"));
}

}  // namespace
}  // namespace kvlab
