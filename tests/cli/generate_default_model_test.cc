// What a first-time user types, with the built-in model; and that a compressed cache writes what teacher
// forcing under the same recipe says. bench/generate_check.sh does the same over 1,000 tokens.
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

json printed(const std::vector<std::string>& arguments) {
  const ProgramResult result = run_kvlab(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out);
}

TEST(DefaultModelGenerate, KnowsACapital) {
  KVLAB_SKIP_UNDER_SANITIZERS("the default model");
  KVLAB_NEED_FILE(default_model_path());
  const json plain =
      printed({"generate", "--prompt", "The capital of France is", "--max_new_tokens", "2", "--json"});
  EXPECT_EQ(plain.at("text"), " Paris.");
  const json chat = printed({"generate", "--chat", "--prompt", "What is the capital of France? One word.",
                             "--max_new_tokens", "40", "--json"});
  EXPECT_EQ(chat.at("finish_reason"), "eos");
  EXPECT_EQ(chat.at("ids").back(), 2);  // <|im_end|>, which the text leaves out
  EXPECT_THAT(chat.at("text").get<std::string>(), ::testing::HasSubstr("Paris"));
  EXPECT_THAT(chat.at("text").get<std::string>(), ::testing::Not(::testing::HasSubstr("<|")));
}

TEST(DefaultModelGenerate, EqualsTeacherForcing) {
  KVLAB_SKIP_UNDER_SANITIZERS("the default model");
  KVLAB_NEED_FILE(default_model_path());
  const json made = printed({"generate", "--prompt", "Once upon a time, in a kingdom by the sea,", "--recipe",
                             "h2o(size=32)", "--max_new_tokens", "60", "--ignore_eos", "--dtype", "f32",
                             "--json", "--live"});
  json tokens = made.at("prompt_ids");
  for (const json& id : made.at("ids")) tokens.push_back(id);
  const TempFolder folder;
  const json scored = printed({"score", "--ids", folder.write("ids.json", tokens.dump()).string(), "--recipe",
                               "h2o(size=32)", "--dtype", "f32", "--live", "--argmax"});
  const auto ids = made.at("ids").get<std::vector<int>>();
  const auto argmax = scored.at("argmax").get<std::vector<int>>();
  EXPECT_EQ(ids, std::vector<int>(argmax.end() - 60, argmax.end()));
  EXPECT_EQ(made.at("live_at_end"), scored.at("live_at_end"));
  EXPECT_EQ(made.at("kv_bytes"), scored.at("kv_bytes"));
}

}  // namespace
}  // namespace kvlab
