// Generation against teacher forcing: what was written, given at once, is what the model would say, and
// leaves the same cache.
#include "engine/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/progress.h"
#include "contract/harness.h"
#include "engine/scoring.h"
#include "engine/spelled_tokenizer.h"

namespace kvlab {
namespace {

using testing::cache_options;
using ::testing::HasSubstr;
using testing::method_of;
using testing::random_tokens;
using testing::SpelledTokenizer;
using testing::tiny_model;

// "t0 " to "t95 ".
SpelledTokenizer numbered(int tokens = 96) {
  std::vector<std::string> texts;
  for (int id = 0; id < tokens; ++id) texts.push_back("t" + std::to_string(id) + " ");
  return SpelledTokenizer(texts);
}

class GenerateTest : public testing::OneThread {
 protected:
  ~GenerateTest() override { clear_stop(); }
  Session session(const std::string& recipe) const {
    return Session(tiny_model(), method_of(recipe), cache_options());
  }
  Generation written(const std::string& recipe, const GenerateOptions& options) const {
    Session own = session(recipe);
    return generate(own, prompt_, tokenizer_, options);
  }
  const std::vector<int32_t> prompt_ = random_tokens(50, 91);
  const SpelledTokenizer tokenizer_ = numbered();
};

GenerateOptions up_to(int64_t tokens) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  return options;
}

// The prompt and then the new tokens, each at once; every new token must be the likeliest one up to rounding.
void expect_teacher_forced(Session& forced, const std::vector<int32_t>& prompt,
                           const std::vector<int32_t>& ids) {
  HiddenStates before = forced.extend(prompt);
  forced.end_context();
  const HiddenStates states = forced.extend(ids);
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::vector<float> logits = i == 0
                                          ? next_logits(*tiny_model(), before, before.rows - 1)
                                          : next_logits(*tiny_model(), states, static_cast<int64_t>(i) - 1);
    ASSERT_GE(logits[ids[i]], *std::max_element(logits.begin(), logits.end()) - 1e-4f) << "new token " << i;
  }
}

TEST_F(GenerateTest, GreedyEqualsTeacherForcingUnderEveryRecipe) {
  std::vector<std::string> recipes = testing::streaming_recipes();
  for (const std::string& recipe : testing::context_recipes(0.4)) recipes.push_back(recipe);
  recipes.insert(recipes.end(),
                 {"none", "h2o(size=24)", "streaming_llm(sinks=2,window=20)", "knorm(keep=0.3)"});
  for (const std::string& recipe : recipes) {
    SCOPED_TRACE(recipe);
    Session own = session(recipe), forced = session(recipe);
    const Generation made = generate(own, prompt_, tokenizer_, up_to(30));
    ASSERT_EQ(made.ids.size(), 30u);
    EXPECT_EQ(made.finish, FinishReason::kLength);
    expect_teacher_forced(forced, prompt_, made.ids);
    EXPECT_EQ(own.live_positions(), forced.live_positions());
    EXPECT_EQ(own.cache().bytes().total(), forced.cache().bytes().total());
  }
}

TEST_F(GenerateTest, AFixedSizeStaysFlat) {
  const auto bytes_after = [&](const std::string& recipe, int64_t tokens) {
    Session own = session(recipe);
    generate(own, prompt_, tokenizer_, up_to(tokens));
    return own.cache().bytes().total();
  };
  for (const char* recipe : {"h2o(size=40)", "streaming_llm(sinks=4,window=36)", "tova(size=40)"}) {
    EXPECT_EQ(bytes_after(recipe, 64), bytes_after(recipe, 200)) << recipe;
  }
  EXPECT_LT(bytes_after("none", 64), bytes_after("none", 200));
}

TEST_F(GenerateTest, TheCallbackGetsTheTextInPieces) {
  Session own = session("none");
  std::vector<int32_t> ids;
  std::string text;
  const Generation made =
      generate(own, prompt_, tokenizer_, up_to(12), [&](int32_t id, const std::string& piece) {
        ids.push_back(id);
        text += piece;
      });
  EXPECT_EQ(ids, made.ids);
  EXPECT_EQ(text, made.text);
  EXPECT_EQ(made.text, tokenizer_.decode(made.ids, false));
  EXPECT_EQ(own.tokens(), 62);
}

TEST_F(GenerateTest, EndTokensEnd) {
  GenerateOptions options = up_to(40);
  options.sampling = {1, 0, 1, 4};  // greedily this model soon repeats itself
  const Generation all = written("none", options);
  options.end_tokens = {all.ids[7], 1000};
  const Generation made = written("none", options);
  const auto first = std::find(all.ids.begin(), all.ids.end(), all.ids[7]);
  EXPECT_EQ(made.ids, std::vector<int32_t>(all.ids.begin(), first + 1));
  EXPECT_EQ(made.finish, FinishReason::kEos);
}

TEST_F(GenerateTest, StopStringsEndAcrossTokens) {
  GenerateOptions options = up_to(40);
  options.sampling = {1, 0, 1, 4};
  const Generation all = written("none", options);
  // The end of one token and the beginning of the next.
  const std::string stop = std::to_string(all.ids[5]) + " t" + std::to_string(all.ids[6]);
  options.stop = {"no such text", stop};
  const Generation made = written("none", options);
  EXPECT_EQ(made.finish, FinishReason::kStop);
  EXPECT_EQ(made.text, all.text.substr(0, all.text.find(stop)));
  ASSERT_LE(made.ids.size(), 7u);
  EXPECT_TRUE(std::equal(made.ids.begin(), made.ids.end(), all.ids.begin()));
}

TEST_F(GenerateTest, ARequestToStopKeepsWhatThereIs) {
  Session own = session("h2o(size=24)");
  int pieces = 0;
  const Generation made = generate(own, prompt_, tokenizer_, up_to(40), [&](int32_t, const std::string&) {
    if (++pieces == 3) request_stop();
  });
  EXPECT_EQ(made.finish, FinishReason::kInterrupted);
  EXPECT_EQ(made.ids.size(), 3u);
  EXPECT_EQ(made.text, tokenizer_.decode(made.ids, false));
  EXPECT_EQ(own.tokens(), 53);
}

TEST_F(GenerateTest, ARequestToStopBeforeThePromptWritesNothing) {
  request_stop();
  const Generation made = written("none", up_to(5));
  EXPECT_EQ(made.finish, FinishReason::kInterrupted);
  EXPECT_TRUE(made.ids.empty());
}

TEST_F(GenerateTest, NoNewTokensOnlyFillTheCache) {
  Session own = session("knorm(keep=0.4,at=context)");
  const Generation made = generate(own, prompt_, tokenizer_, up_to(0));
  EXPECT_TRUE(made.ids.empty());
  EXPECT_EQ(made.finish, FinishReason::kLength);
  EXPECT_EQ(own.cache().live_entries(), 20 * 3 * 2);  // 0.4 of 50 in each layer and head
}

TEST_F(GenerateTest, DrawsDoNotDependOnThreads) {
  GenerateOptions options = up_to(20);
  options.sampling = {1.2, 0, 0.95, 7};
  const auto ids = [&](int threads) {
    const testing::ThreadCount count(threads);
    return written("h2o(size=24)", options).ids;
  };
  const std::vector<int32_t> drawn = ids(1);
  EXPECT_EQ(ids(2), drawn);
  options.sampling.seed = 8;
  EXPECT_NE(ids(1), drawn);
}

// Models pad their embedding; what lies beyond the tokenizer's vocabulary is no token.
TEST_F(GenerateTest, TokensThatTheTokenizerLacksAreNotTaken) {
  const SpelledTokenizer half = numbered(48);
  GenerateOptions options = up_to(60);
  options.sampling.temperature = 5;
  Session own = session("none");
  const Generation made = generate(own, prompt_, half, options);
  EXPECT_LT(*std::max_element(made.ids.begin(), made.ids.end()), 48);
}

TEST_F(GenerateTest, OptionsAreCheckedBeforeAnyWork) {
  GenerateOptions options = up_to(5);
  options.stop = {""};
  Session own = session("none");
  EXPECT_THROW(generate(own, prompt_, tokenizer_, options), UserError);
  options = up_to(5);
  options.sampling.top_p = 0;
  EXPECT_THROW(generate(own, prompt_, tokenizer_, options), UserError);
  EXPECT_EQ(own.tokens(), 0);
}

std::string refusal(const std::vector<int32_t>& prompt, int64_t new_tokens) {
  ModelConfig config;
  config.vocab = 96;
  config.context = 100;
  try {
    check_prompt(config, prompt, new_tokens, false);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(CheckPrompt, NamesWhatIsWrong) {
  const std::vector<int32_t> fits(60, 1);
  EXPECT_EQ(refusal(fits, 40), "");
  EXPECT_THAT(refusal({}, 4), HasSubstr("empty"));
  EXPECT_THAT(refusal({3, 96}, 4), HasSubstr("token id 96 is outside the model's vocabulary of 96"));
  EXPECT_THAT(refusal({-1}, 4), HasSubstr("token id -1"));
  EXPECT_THAT(refusal(fits, 41), HasSubstr("give --max_new_tokens 40 or --beyond_context"));
  EXPECT_THAT(refusal(std::vector<int32_t>(101, 1), 1),
              HasSubstr("give a shorter prompt or --beyond_context"));
  ModelConfig config;
  config.vocab = 96;
  config.context = 100;
  EXPECT_NO_THROW(check_prompt(config, fits, 1000, true));
}

}  // namespace
}  // namespace kvlab
