// Passages, and prompts that hold the same ids twice.
#include "train/passages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A letter an id; "<|x|>" is one token where special tokens are allowed.
class Letters : public Tokenizer {
 public:
  explicit Letters(std::string chat_template = "") : template_(std::move(chat_template)) {}
  std::vector<int32_t> encode(std::string_view text, bool) const override {
    return {text.begin(), text.end()};
  }
  std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const override {
    std::vector<int32_t> ids;
    for (const TextPart& part : parts) {
      const auto own = encode(part.text, true);
      ids.insert(ids.end(), own.begin(), own.end());
    }
    return ids;
  }
  std::string decode(const std::vector<int32_t>& ids, bool) const override {
    return {ids.begin(), ids.end()};
  }
  int vocab_size() const override { return 128; }
  int bos() const override { return 1; }
  int eos() const override { return 2; }
  bool add_bos() const override { return true; }
  const std::string& chat_template() const override { return template_; }
  std::string description() const override { return "letters"; }

 private:
  std::string template_;
};

const char* const kChatml =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% "
    "endif %}";

std::vector<TrainText> texts(std::initializer_list<int> lengths) {
  std::vector<TrainText> all;
  for (const int length : lengths) all.push_back({"text", std::vector<int32_t>(length, 7)});
  return all;
}

TEST(Passages, CoverTheTextsInOrder) {
  const auto passages = cut_passages(texts({1000, 20, 300}), 40, 1);
  int64_t at = 0;
  int text = 0;
  bool varied = false;
  for (const Passage& passage : passages) {
    if (passage.text != text) {
      EXPECT_EQ(passage.text, 2) << "20 tokens are no passage";
      EXPECT_LT(1000 - at, 30) << "what is left is too short";
      text = passage.text;
      at = 0;
    }
    EXPECT_EQ(passage.first, at);
    EXPECT_GE(passage.length, 30);
    EXPECT_LE(passage.length, 50);
    varied |= passage.length != passages[0].length;
    at += passage.length;
  }
  EXPECT_TRUE(varied);
}

TEST(Passages, AreDrawnInOrderAndBySeed) {
  const auto all = cut_passages(texts({4000}), 40, 1);
  const auto drawn = draw_passages(all, 10, 1), other = draw_passages(all, 10, 2);
  ASSERT_EQ(drawn.size(), 10u);
  bool same = true;
  for (size_t i = 0; i < 10; ++i) {
    if (i > 0) {
      EXPECT_GT(drawn[i].first, drawn[i - 1].first);
    }
    same &= drawn[i].first == other[i].first;
  }
  EXPECT_FALSE(same);
  EXPECT_EQ(draw_passages(all, 100000, 1).size(), all.size());
}

TEST(Passages, PositionsAreDistinctAndAscend) {
  const auto positions = draw_positions(50, 20, 3);
  ASSERT_EQ(positions.size(), 20u);
  for (size_t i = 1; i < positions.size(); ++i) EXPECT_GT(positions[i], positions[i - 1]);
  EXPECT_LT(positions.back(), 50);
  EXPECT_EQ(draw_positions(50, 50, 9).size(), 50u);
}

std::string text_of(const RepeatPrompt& prompt) {
  return {prompt.tokens.begin(), prompt.tokens.end()};
}

TEST(RepeatPrompt, PlainFormHasTheRequestBetween) {
  const Letters tokenizer;
  const std::vector<int32_t> passage{'a', 'b'};
  const RepeatPrompt prompt = repeat_prompt(repeat_frame(&tokenizer, PromptForm::kAuto), passage);
  EXPECT_EQ(text_of(prompt), "\1ab\n\nRepeat the previous context exactly.\n\nab");
  EXPECT_EQ(prompt.first, 1);
  EXPECT_EQ(prompt.tokens[prompt.second], 'a');
  EXPECT_EQ(prompt.second + prompt.length, static_cast<int>(prompt.tokens.size()));
}

TEST(RepeatPrompt, ChatFormIsTheTemplates) {
  const Letters tokenizer(kChatml);
  const std::vector<int32_t> passage{'a', 'b'};
  const RepeatFrame frame = repeat_frame(&tokenizer, PromptForm::kAuto);
  EXPECT_THAT(frame.form, HasSubstr("chat ("));
  EXPECT_EQ(
      text_of(repeat_prompt(frame, passage)),
      "<|im_start|>user\nab\n\nRepeat the previous context exactly.<|im_end|>\n<|im_start|>assistant\nab");
  EXPECT_EQ(repeat_frame(&tokenizer, PromptForm::kPlain).form, "plain");
}

TEST(RepeatPrompt, WithoutATokenizerCopiesAreBare) {
  const std::vector<int32_t> passage{5, 6};
  EXPECT_THAT(repeat_prompt(repeat_frame(nullptr, PromptForm::kAuto), passage).tokens,
              ElementsAre(5, 6, 5, 6));
  EXPECT_THROW(repeat_frame(nullptr, PromptForm::kChat), UserError);
}

TEST(RepeatPrompt, AnUnknownTemplateSaysWhatToDo) {
  const Letters tokenizer("{{ messages }}");
  try {
    repeat_frame(&tokenizer, PromptForm::kAuto);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train with --prompt plain"));
  }
}

}  // namespace
}  // namespace kvlab
