// Every family of chat templates against what its original writes; what is like one and is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/chat_template.h"
#include "tokenizer/chat_template_cases.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using testing::chat_case;
using testing::chat_cases;
using testing::ChatCase;
using ::testing::HasSubstr;
using testing::user_error;

ChatOptions options_of(const ChatCase& c) {
  return c.name == std::string("Mistral v7-tekken") ? ChatOptions{std::nullopt, "7 March"} : ChatOptions{};
}

ChatPrompt prompt_of(const std::string& text, const Conversation& conversation,
                     const ChatOptions& options = {}) {
  return render_chat({text, "<B>", "<E>"}, conversation, options);
}

std::string rendered(const std::string& text, const Conversation& conversation,
                     const ChatOptions& options = {}) {
  return prompt_of(text, conversation, options).text();
}

std::string refusal(const std::string& text, const Conversation& conversation,
                    const ChatOptions& options = {}) {
  return user_error([&] { prompt_of(text, conversation, options); });
}

const Conversation kHi{std::nullopt, {"Hi"}};
const std::vector<std::string> kTurns{" Hi ", "<think>\nWell.\n</think>\n\n Yes. \n", "\tBye"};

TEST(ChatFamilies, EqualTheOriginals) {
  for (const ChatCase& c : chat_cases()) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(rendered(c.text, {std::nullopt, {" Hi \n"}}, options_of(c)), c.alone);
    const Conversation talk{" Be brief. ", kTurns};
    if (c.takes_system) {
      EXPECT_EQ(rendered(c.text, talk), c.talk);
    } else {
      EXPECT_EQ(rendered(c.text, {std::nullopt, kTurns}), c.talk);
      EXPECT_THAT(refusal(c.text, talk), HasSubstr("takes no system message"));
    }
  }
}

TEST(ChatFamilies, NameTheTokenThatEndsATurn) {
  for (const auto& [name, end] : {std::pair{"Qwen 3", "<|im_end|>"},
                                  {"Llama 3.1", "<|eot_id|>"},
                                  {"Llama 2", "<E>"},
                                  {"Mistral v3", "<E>"},
                                  {"Zephyr", "<E>"},
                                  {"Phi 3.5", "<|end|>"},
                                  {"Gemma 3", "<end_of_turn>"}})
    EXPECT_EQ(prompt_of(chat_case(name).text, kHi).turn_end, end) << name;
}

TEST(ChatFamilies, OnlyTheTemplateHoldsSpecialTokens) {
  for (const ChatCase& c : chat_cases()) {
    SCOPED_TRACE(c.name);
    Conversation talk{"SYSTEM", {"USER", "ANSWER", "USER"}};
    if (!c.takes_system) talk.system.reset();
    int given = 0;
    for (const TextPart& part : prompt_of(c.text, talk).parts) {
      const bool outside = part.text.find("SYSTEM") == 0 || part.text == "USER" || part.text == "ANSWER";
      EXPECT_EQ(part.parse_special, !outside) << part.text;
      given += outside;
    }
    EXPECT_EQ(given, c.takes_system ? 4 : 3);
  }
}

// A family is known by how it writes messages, so a template that writes them in another way is none of it.
TEST(ChatFamilies, RefuseATemplateThatChangesMessages) {
  for (const ChatCase& c : chat_cases()) {
    for (const std::string change : {"|upper", "|replace('a', 'b')"}) {
      std::string text = c.text;
      for (const std::string content : {"content']", "content\"]", "message.content", "content.strip()"}) {
        for (size_t at = text.find(content); at != text.npos; at = text.find(content, at + 1))
          text.insert(at + content.size(), change);
      }
      ASSERT_NE(text, c.text);
      EXPECT_THAT(refusal(text, kHi, options_of(c)), HasSubstr("no known family")) << c.name << change;
    }
  }
}

TEST(ChatFamilies, RefuseNearRelatives) {
  const std::string chatml = chat_case("ChatML with BOS").text, qwen3 = chat_case("Qwen 3").text;
  const auto changed = [](std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& text :
       {changed(chatml, "<|im_end|>' + '\n'", "<|im_end|>'"),
        changed(chatml, "assistant\n", "assistant\n<think>\n"),
        changed(chatml, "{% for", "{{ '<|im_start|>system\nAlways.<|im_end|>\n' }}{% for"),
        changed(chatml, "{% for", "{{ '<|im_start|>system\n' + today + '<|im_end|>\n' }}{% for"),
        changed(qwen3, "enable_thinking is false", "enable_thinking is true"),
        changed(qwen3, "<think>\\n\\n</think>", "<think></think>"),
        changed(chat_case("Llama 2").text, "message['content'] %}{% else",
                "message['content'] | lower %}{% else"),
        changed(chat_case("Llama 3").text, "bos_token + content", "content"),
        changed(chat_case("Llama 3.1").text, "Today Date: ", "Today: "),
        changed(chat_case("Mistral v7").text, "[/SYSTEM_PROMPT]", "[/SYSTEM_PROMPT] "),
        changed(chat_case("Mistral v7-tekken").text, "%Y-%m-%d", "%d.%m.%Y"),
        changed(chat_case("Mistral v3").text, "loop.last and", "loop.last or"),
        changed(chat_case("Gemma 3").text, "\\n\\n", "\\n"),
        changed(chat_case("Gemma 2").text, "| trim ", ""),
        changed(chat_case("Phi 3.5").text, "<|end|>\n'}}{% elif message['role'] == 'assistant'",
                "<|end|>'}}{% elif message['role'] == 'assistant'"),
        changed(chat_case("Zephyr").text, "eos_token }}\n{% elif", "'</s>' }}\n{% elif")})
    EXPECT_THAT(refusal(text, kHi), HasSubstr("no known family")) << text;
}

TEST(ChatFamilies, ThinkingIsASwitchOfSomeTemplates) {
  const std::string qwen3 = chat_case("Qwen 3").text;
  const std::string asked = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(rendered(qwen3, kHi), asked);
  EXPECT_EQ(rendered(qwen3, kHi, {true, {}}), asked);
  EXPECT_EQ(rendered(qwen3, kHi, {false, {}}), asked + "<think>\n\n</think>\n\n");
  for (const char* name : {"SmolLM2", "Llama 3.1", "Gemma 2", "Mistral v7"})
    EXPECT_THAT(refusal(chat_case(name).text, kHi, {false, {}}), HasSubstr("no switch for thinking")) << name;
}

TEST(ChatFamilies, PastThoughtsAreLeftOut) {
  const std::string qwen3 = chat_case("Qwen 3").text;
  const auto answer = [&](const std::string& said) {
    const std::string all = rendered(qwen3, {std::nullopt, {"a", said, "b"}});
    const size_t begin = all.find("assistant\n") + 10;
    return all.substr(begin, all.find("<|im_end|>", begin) - begin);
  };
  EXPECT_EQ(answer("x</think>y</think>\n\n z\n"), " z\n");
  EXPECT_EQ(answer("x</think>\n"), "");
  EXPECT_EQ(answer("<think>\n"), "<think>\n");
  EXPECT_THAT(refusal(qwen3, {std::nullopt, {"a", "b", "<tool_response>1</tool_response>"}}),
              HasSubstr("turn 2 is a tool's response"));
}

TEST(ChatFamilies, DatesAreGivenOrTheTemplates) {
  const std::string llama = chat_case("Llama 3.1").text, mistral = chat_case("Mistral v7-tekken").text;
  EXPECT_THAT(rendered(llama, kHi), HasSubstr("Today Date: 26 Jul 2024\n\n<|eot_id|>"));
  EXPECT_THAT(rendered(llama, kHi, {{}, "07 Mar 2031"}), HasSubstr("Today Date: 07 Mar 2031\n\n<|eot_id|>"));
  EXPECT_THAT(refusal(mistral, kHi), HasSubstr("give --date, as 2025-06-20, or --system"));
  EXPECT_EQ(rendered(mistral, {"Be brief.", {"Hi"}}),
            "<B>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]");
  for (const char* name : {"SmolLM2", "Qwen 3", "Llama 3", "Llama 2", "Mistral v7", "Phi 3", "Zephyr"})
    EXPECT_THAT(refusal(chat_case(name).text, kHi, {{}, "today"}), HasSubstr("shows no date")) << name;
}

TEST(ChatFamilies, BlanksAreTakenAwayAsPythonDoes) {
  const std::string llama2 = chat_case("Llama 2").text;
  EXPECT_EQ(rendered(chat_case("Gemma 2").text, {{}, {"\u00A0\x1C Hi\u2003\u200B\n"}}),
            "<B><start_of_turn>user\nHi\u2003\u200B<end_of_turn>\n<start_of_turn>model\n");
  // System message and question are one text there.
  EXPECT_EQ(rendered(llama2, {" S ", {" \n"}}), "<B>[INST] <<SYS>>\n S \n<</SYS>> [/INST]");
  EXPECT_EQ(rendered(llama2, {"", {" a "}}), "<B>[INST] <<SYS>>\n\n<</SYS>>\n\n a [/INST]");
  EXPECT_EQ(rendered(llama2, {{}, {" \n"}}), "<B>[INST]  [/INST]");
}

TEST(ChatFamilies, AnEmptySystemMessageIsWhatTheTemplateMakesOfIt) {
  EXPECT_EQ(rendered(chat_case("Phi 3.5").text, {"", {"Hi"}}), "<|user|>\nHi<|end|>\n<|assistant|>\n");
  EXPECT_EQ(rendered(chat_case("Gemma 3").text, {"", {"Hi"}}),
            "<B><start_of_turn>user\n\n\nHi<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(rendered(chat_case("Qwen 2").text, {"", {"Hi"}}),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatFamilies, MistakesAreNamed) {
  const std::string qwen = chat_case("Qwen 2").text;
  EXPECT_THAT(refusal("", kHi), HasSubstr("no chat template"));
  const std::string unknown = refusal("{{ '<|turn|>' + x + '[ASK]' }}<a b>[lower]<|turn|>", kHi);
  EXPECT_THAT(unknown,
              HasSubstr("no known family (its marks: <|turn|> [ASK]; known: ChatML, Qwen 3, Llama 3, "
                        "Llama 3.1, Llama 2, Mistral, Zephyr, Phi 3, Gemma)"));
  EXPECT_THAT(unknown, HasSubstr("without --chat"));
  EXPECT_THAT(refusal("{{ messages }}", kHi), HasSubstr("it has no marks such as <|user|>"));
  EXPECT_THAT(refusal(qwen, {{}, {}}), HasSubstr("a conversation of 0 turns does not end with the user's"));
  EXPECT_THAT(refusal(qwen, {{}, {"a", "b"}}), HasSubstr("a conversation of 2 turns"));
  EXPECT_THAT(refusal(qwen, {{}, {"a", "b\xFF", "c"}}), HasSubstr("turn 1 is not valid UTF-8 at byte 1"));
  EXPECT_THAT(refusal(qwen, {"\xFF", {"a"}}), HasSubstr("the system message is not valid UTF-8 at byte 0"));
}

}  // namespace
}  // namespace kvlab
