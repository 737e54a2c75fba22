// `kvlab tokenize`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;

// The frozen vocabulary of a family, as a model's folder.
class Tokenize : public ::testing::Test {
 protected:
  Tokenize() {
    folder_.write("tokenizer.json", frozen_.at("tokenizer").dump());
    for (const json& item : frozen_.at("cases")) {
      texts_ += json(item.at("text")).dump() + "\n";
      ids_ += item.at("ids").dump() + "\n";
      decoded_ += json(item.value("decoded", item.at("text").get<std::string>())).dump() + "\n";
    }
  }

  ProgramResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"tokenize", "--model", folder_.path().string()});
    return run_kvlab(arguments);
  }

  const json frozen_ = [] {
    std::ifstream in(KVLAB_SOURCE_DIR "/tests/goldens/tokenizers/mistral.json");
    return json::parse(in);
  }();
  kvlab::TempFolder folder_;
  std::string texts_, ids_, decoded_;
};

TEST_F(Tokenize, LinesThereAndBack) {
  const ProgramResult there =
      run({"--lines", folder_.write("texts", texts_).string(), "--bos", "no", "--eos", "no"});
  EXPECT_EQ(there.exit_code, 0) << there.err;
  EXPECT_EQ(there.out, ids_);
  const ProgramResult back = run({"--lines", folder_.write("ids", ids_).string(), "--decode"});
  EXPECT_EQ(back.exit_code, 0) << back.err;
  EXPECT_EQ(back.out, decoded_);
}

TEST_F(Tokenize, PiecesAndCounts) {
  const ProgramResult pieces = run({"a<s>"});
  EXPECT_EQ(pieces.exit_code, 0) << pieces.err;
  // This family sets BOS in front and EOS behind.
  EXPECT_THAT(pieces.out, HasSubstr("1  \"<s>\"\n"));
  EXPECT_THAT(pieces.out, HasSubstr("2  \"</s>\"\n4 tokens\n"));
  // A space is shown where it is not the first of the text.
  EXPECT_THAT(run({"a w", "--bos", "no", "--eos", "no"}).out, HasSubstr("\" w"));
  EXPECT_EQ(run({"a<s>", "--count", "--bos", "no"}).out, "3\n");
  EXPECT_EQ(run({"--file", folder_.write("text", "a").string(), "--count"}).out, "3\n");
  EXPECT_EQ(run({"[1, 2]", "--decode"}).out, "<s></s>\n");
  EXPECT_EQ(run({"[1, 2]", "--decode", "--special", "no"}).out, "\n");
}

TEST_F(Tokenize, NamesMistakes) {
  const auto error = [&](const std::vector<std::string>& arguments) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(error({}), HasSubstr("give one of TEXT, --file FILE and --lines FILE"));
  EXPECT_THAT(error({"a", "--decode", "--count"}), HasSubstr("leave out --decode"));
  EXPECT_THAT(error({"[1, -2]", "--decode"}), HasSubstr("expected a list of token ids"));
  EXPECT_THAT(error({"[99999]", "--decode"}), HasSubstr("token id 99999 is out of range"));
  EXPECT_THAT(error({"--lines", folder_.write("bad", "\"a\"\n5\n").string()}),
              HasSubstr("bad:2: expected a text"));
  EXPECT_THAT(error({"--file", "/no/such/file"}), HasSubstr("/no/such/file: cannot be read"));
}

}  // namespace
}  // namespace kvlab
