// Every mistake gives one clear line, exit status 2, and touches no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/program.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Matcher;
using testing::ProgramResult;
using testing::run_kvlab;
using ::testing::StartsWith;
using testing::TinyWorkplace;

class Mistakes : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(place_.path("old"));
    place_.write("old/comparison_summary.json", "precious");
    data_ = place_.documents("data.jsonl", {60, 40});
  }

  // `compare` on good data, into a folder with older results and into one that is not there yet; `extra`
  // holds the mistake.
  void expect_refused(const std::vector<std::string>& extra, const Matcher<const std::string&>& message) {
    for (const char* folder : {"old", "new"}) {
      std::vector<std::string> arguments{"compare",      "--tokens_field",   "ids", "--threads", "1",
                                         "--output_dir", place_.path(folder)};
      if (std::find(extra.begin(), extra.end(), "--model") == extra.end())
        add(arguments, {"--model", place_.model()});
      if (std::find(extra.begin(), extra.end(), "--data_path") == extra.end())
        add(arguments, {"--data_path", data_});
      if (std::find(extra.begin(), extra.end(), "--methods") == extra.end())
        add(arguments, {"--methods", "knorm"});
      add(arguments, extra);
      expect_one_line(run_kvlab(arguments), message);
    }
    EXPECT_EQ(place_.read("old/comparison_summary.json"), "precious");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(place_.path("old")), {}), 1);
    EXPECT_FALSE(std::filesystem::exists(place_.path("new")));
  }

  static void expect_one_line(const ProgramResult& result, const Matcher<const std::string&>& message) {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, StartsWith("kvlab: "));
    EXPECT_THAT(result.err, message);
  }

  static void add(std::vector<std::string>& list, const std::vector<std::string>& more) {
    list.insert(list.end(), more.begin(), more.end());
  }

  TinyWorkplace place_;
  std::string data_;
};

TEST_F(Mistakes, UnknownCommandsAndFlags) {
  expect_one_line(run_kvlab({"comparr"}), HasSubstr("did you mean 'compare'?"));
  expect_one_line(run_kvlab({"--verison"}),
                  AllOf(HasSubstr("--verison"), HasSubstr("did you mean --version?")));
  expect_refused({"--max_lenght", "5"},
                 AllOf(HasSubstr("--max_lenght"), HasSubstr("did you mean --max_length?")));
  expect_refused({"--max-lenght=5"}, HasSubstr("did you mean --max_length?"));
  expect_refused({"--chunk_size", "many"}, AllOf(HasSubstr("--chunk_size"), HasSubstr("many")));
  expect_refused({"--chunk_size"}, HasSubstr("--chunk_size"));
}

TEST_F(Mistakes, UnknownMethodsAndParameters) {
  expect_refused({"--methods", "knrom"}, HasSubstr("did you mean 'knorm'?"));
  expect_refused({"--methods", "knorm", "hto"}, HasSubstr("did you mean 'h2o'?"));
  expect_refused({"--methods", "knorm(treshold=3)"}, HasSubstr("did you mean 'threshold'?"));
  expect_refused({"--methods", "knorm(keep=2)"}, AllOf(HasSubstr("keep=2"), HasSubstr("0..1")));
  expect_refused({"--methods", "knorm(keep=0.5"}, HasSubstr("not closed"));
  expect_refused({"--methods", ""}, HasSubstr("--methods names no method"));
}

TEST_F(Mistakes, NumbersOutOfRange) {
  expect_refused({"--compression_ratio", "1.5"},
                 AllOf(HasSubstr("--compression_ratio 1.5"), HasSubstr("0..1")));
  expect_refused({"--compression_ratio", "-0.1"}, HasSubstr("--compression_ratio -0.1"));
  expect_refused({"--num_gpus", "1"}, AllOf(HasSubstr("--num_gpus 1"), HasSubstr("CPU only")));
  expect_refused({"--chunk_size", "0"}, HasSubstr("--chunk_size 0"));
  expect_refused({"--max_length", "-1"}, HasSubstr("--max_length -1"));
  expect_refused({"--max_length", "1"}, HasSubstr("two are needed"));
  expect_refused({"--protocol", "prefix", "--context", "50"},
                 AllOf(HasSubstr("--context 50"), HasSubstr("doc1")));
  expect_refused({"--protocol", "prefix"}, HasSubstr("--context"));
  expect_refused({"--memory", "2GB"}, AllOf(HasSubstr("--memory '2GB'"), HasSubstr("512MiB")));
  expect_refused({"--memory", "50KiB"}, AllOf(HasSubstr("--memory 50KiB"), HasSubstr("60 tokens"),
                                              HasSubstr("--max_length "), HasSubstr("or --memory ")));
  expect_refused({"--context", "10"}, HasSubstr("--context needs --protocol prefix"));
}

TEST_F(Mistakes, ThresholdsAndDensities) {
  expect_refused({"--methods", "tova(threshold=0.1)"}, HasSubstr("tova takes no threshold"));
  expect_refused({"--methods", "tova", "--thresholds", R"({"tova": 0.1})"},
                 HasSubstr("tova takes no threshold"));
  expect_refused({"--methods", "tova", "--thresholds", "0.1,0.2"}, HasSubstr("tova takes no threshold"));
  expect_refused({"--thresholds", R"({"knorm": )"}, AllOf(HasSubstr("--thresholds"), HasSubstr("not JSON")));
  expect_refused({"--thresholds", R"({"knorm": "low"})"}, HasSubstr("'knorm' is not a number"));
  expect_refused({"--thresholds", R"({"knrom": -3})"}, HasSubstr("did you mean 'knorm'?"));
  expect_refused({"--thresholds", R"({"kvzap_no_sink": -3})"}, HasSubstr("give its scorer, 'kvzap'"));
  expect_refused({"--densities", R"({"knorm": 1.5})"}, AllOf(HasSubstr("1.5"), HasSubstr("0..1")));
  expect_refused({"--methods", "knorm", "h2o", "--thresholds", "-6,-7"}, HasSubstr("exactly one"));
  expect_refused({"--methods", "knorm(keep=0.5)", "--thresholds", "-6,-7"}, HasSubstr("two budgets"));
}

TEST_F(Mistakes, Files) {
  expect_refused({"--data_path", place_.path("none.jsonl")}, HasSubstr("none.jsonl: No such file"));
  expect_refused({"--model", place_.path("none.gguf")}, HasSubstr("none.gguf"));
  expect_refused({"--model", place_.write("text.gguf", "not a model")}, HasSubstr("text.gguf"));
  expect_refused({"--data_path", place_.write("void.jsonl", "")},
                 HasSubstr("void.jsonl: holds no documents"));
  expect_refused({"--data_path", place_.write("no_ids.jsonl", "{\"ids\": [1, 2]}\n{\"ids\": []}\n")},
                 HasSubstr("no_ids.jsonl:2: field \"ids\" is empty"));
  expect_refused({"--data_path", place_.write("bad.jsonl", "{\"ids\": [1, 2]}\n{\"ids\": [1, 2\n")},
                 HasSubstr("bad.jsonl:2: bad JSON at column"));
  expect_refused({"--data_path", place_.write("big.jsonl", "{\"ids\": [1, 96]}\n")},
                 AllOf(HasSubstr("96"), HasSubstr("vocabulary")));
  expect_refused({"--mask_field", "mask", "--data_path",
                  place_.write("mask.jsonl", "{\"ids\": [1, 2, 3], \"mask\": [1, 1]}\n")},
                 AllOf(HasSubstr("mask.jsonl:1"), HasSubstr("2 values for 3 tokens")));
}

TEST_F(Mistakes, DocumentsLongerThanTheContext) {
  const std::string data = place_.documents("long.jsonl", {600});
  expect_refused({"--data_path", data}, AllOf(HasSubstr("600 tokens"), HasSubstr("--max_length 512"),
                                              HasSubstr("--beyond_context")));
  for (const auto& allowed :
       std::vector<std::vector<std::string>>{{"--max_length", "512"}, {"--beyond_context"}}) {
    std::vector<std::string> arguments{"compare", "--model",        place_.model(), "--data_path",
                                       data,      "--tokens_field", "ids",          "--methods",
                                       "none",    "--no_heatmaps",  "--output_dir", place_.path("long")};
    add(arguments, allowed);
    EXPECT_EQ(run_kvlab(arguments).exit_code, 0) << allowed[0];
  }
}

TEST_F(Mistakes, KvzapScorerForAnotherModel) {
  std::filesystem::create_directory(place_.path("scorer"));
  place_.write(
      "scorer/config.json",
      R"({"model_type": "kvzap", "n_modules": 3, "input_dim": 32, "output_dim": 5, "hidden_dim": null})");
  expect_refused({"--methods", "kvzap", "--kvzap_scorer_model", place_.path("scorer")},
                 AllOf(HasSubstr("3 layers, hidden size 32, 5 KV heads"),
                       HasSubstr("2 layers, hidden size 64, 2 KV heads")));
  expect_refused({"--methods", "kvzap", "--kvzap_scorer_model", place_.path("nowhere")},
                 HasSubstr("nowhere"));
}

TEST_F(Mistakes, OutputFolderThatIsAFile) {
  const std::string file = place_.write("taken", "precious");
  expect_one_line(run_kvlab({"compare", "--model", place_.model(), "--data_path", data_, "--tokens_field",
                             "ids", "--methods", "knorm", "--output_dir", file}),
                  AllOf(HasSubstr("--output_dir"), HasSubstr("is a file")));
  expect_one_line(run_kvlab({"compare", "--model", place_.model(), "--data_path", data_, "--tokens_field",
                             "ids", "--methods", "knorm", "--output_dir", file + "/below"}),
                  HasSubstr("--output_dir"));
  EXPECT_EQ(place_.read("taken"), "precious");
}

TEST_F(Mistakes, Score) {
  const std::string ids = place_.write("ids.json", "[1, 2, 3, 4]");
  const std::vector<std::string> model{"score", "--model", place_.model()};
  const auto score = [&](const std::vector<std::string>& extra) {
    std::vector<std::string> arguments = model;
    add(arguments, extra);
    return run_kvlab(arguments);
  };
  expect_one_line(score({}), HasSubstr("--text FILE or --ids"));
  expect_one_line(score({"--ids", place_.path("none.json")}), HasSubstr("none.json"));
  expect_one_line(score({"--ids", place_.write("bad.json", "[1, 2")}), HasSubstr("bad.json"));
  expect_one_line(score({"--ids", ids, "--recipe", "knrom"}), HasSubstr("did you mean 'knorm'?"));
  expect_one_line(score({"--ids", ids, "--protocol", "prefix", "--context", "4"}), HasSubstr("--context 4"));
  expect_one_line(score({"--ids", ids, "--context", "2"}), HasSubstr("--protocol prefix"));
  expect_one_line(score({"--ids", ids, "--max_length", "-3"}), HasSubstr("--max_length -3"));
}

}  // namespace
}  // namespace kvlab
