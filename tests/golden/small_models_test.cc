// Small models against transformers: random weights by logit, and a trained one by the story that it tells.
#include <cmath>
#include <cstdlib>

#include "engine/scoring.h"
#include "golden/golden_support.h"
#include "golden/logits_golden.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

class TinyModelGolden : public ::testing::TestWithParam<const char*> {};

void check_tiny_model(const std::string& path, const nlohmann::json& golden) {
  const OneThread one_thread;
  const auto model = open_and_load(path, DType::kF32);
  for (const int piece : {0, 1, 20}) {
    SCOPED_TRACE("extends of " + std::to_string(piece) + " (0: all)");
    expect_logits_golden(model, golden, piece);
  }
}

TEST_P(TinyModelGolden, LogitsAndLosses) {
  const std::string folder = shared_path(std::string("models/") + GetParam());
  KVLAB_NEED_FILE(folder);
  check_tiny_model(folder, read_json(folder + "/golden.json"));
}

// Files of tools/goldens/convert_gguf.py; tools/goldens/check_gguf.sh makes them and runs this.
TEST_P(TinyModelGolden, ConvertedGgufFile) {
  const std::string folder = shared_path(std::string("models/") + GetParam());
  KVLAB_NEED_FILE(folder);
  const char* converted = std::getenv("KVLAB_GOLDEN_GGUF_DIR");
  if (converted == nullptr) {
    GTEST_SKIP() << "needs KVLAB_GOLDEN_GGUF_DIR (tools/goldens/check_gguf.sh sets it)";
  }
  check_tiny_model(std::string(converted) + "/" + GetParam() + ".gguf", read_json(folder + "/golden.json"));
}

INSTANTIATE_TEST_SUITE_P(Architectures, TinyModelGolden,
                         ::testing::Values("tiny-llama-mha", "tiny-llama-3.1", "tiny-mistral-swa",
                                           "tiny-qwen2", "tiny-qwen3", "tiny-gpt-neox",
                                           "tiny-gpt-neox-sequential"),
                         [](const auto& info) {
                           std::string name = info.param;  // GoogleTest takes letters and digits only
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

// The text of `steps` greedy steps from BOS, each an extend of one token.
std::string greedy_story(const std::string& folder, const std::string& recipe, int steps) {
  const OneThread one_thread;
  const auto model = open_and_load(folder, DType::kF32);
  const auto tokenizer = open_tokenizer(folder);
  Session session(model, make_method(resolve_recipe(recipe, {}), shape_of(model->config())), {});
  std::vector<int32_t> ids{tokenizer->bos()};
  for (int step = 0; step < steps; ++step) {
    const HiddenStates states = session.extend(std::span(ids).last(1));
    ids.push_back(most_likely(*model, states, 0));
  }
  return tokenizer->decode(ids, false);
}

class Stories : public ::testing::TestWithParam<const char*> {};

TEST_P(Stories, GreedyTextOf200Steps) {
  const std::string folder = shared_path("models/stories260K");
  KVLAB_NEED_FILE(folder);
  EXPECT_EQ(greedy_story(folder, GetParam(), 200), read_text(folder + "/expected_greedy_200steps.txt"));
}

INSTANTIATE_TEST_SUITE_P(Recipes, Stories, ::testing::Values("none", "h2o(keep=1)"), [](const auto& info) {
  return std::string(info.index == 0 ? "none" : "h2o_neutral");
});

TEST(Stories, AnotherTextWhenMostOfThePastIsGone) {
  const std::string folder = shared_path("models/stories260K");
  KVLAB_NEED_FILE(folder);
  EXPECT_NE(greedy_story(folder, "streaming_llm(sinks=0,window=4)", 200),
            read_text(folder + "/expected_greedy_200steps.txt"));
}

}  // namespace
}  // namespace kvlab
