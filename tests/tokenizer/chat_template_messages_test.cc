// Conversations from JSON.
#include "tokenizer/chat_template_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using testing::user_error;

TEST(ChatMessages, AreReadInTurn) {
  const Conversation alone = parse_conversation(R"([{"role": "user", "content": "Hi"}])", "m.json");
  EXPECT_EQ(alone.system, std::nullopt);
  EXPECT_EQ(alone.turns, std::vector<std::string>{"Hi"});
  const Conversation talk = parse_conversation(
      R"([{"content": "S", "role": "system"}, {"role": "user", "content": ""},
          {"role": "assistant", "content": "b\n"}, {"role": "user", "content": "\u00e9"}])",
      "m.json");
  EXPECT_EQ(talk.system, "S");
  EXPECT_EQ(talk.turns, (std::vector<std::string>{"", "b\n", "\u00E9"}));
}

TEST(ChatMessages, MistakesAreNamed) {
  struct Case {
    const char* json;
    const char* text;
  };
  for (const Case& c : std::vector<Case>{
           {"[", "m.json: bad JSON at byte"},
           {"{}", "m.json: expected a list of messages, found an object"},
           {"[]", "m.json: the last of 0 messages is not the user's"},
           {"[3]", "m.json: message 0 is 3 (expected an object with role and content)"},
           {R"([{"content": "a"}])", "m.json: message 0: 'role' is missing"},
           {R"([{"role": "user"}])", "m.json: message 0: 'content' is missing"},
           {R"([{"role": "user", "content": ["a"]}])", "message 0: 'content' is an array (expected a text)"},
           {R"([{"role": 1, "content": "a"}])", "message 0: 'role' is 1 (expected a text)"},
           {R"([{"role": "tool", "content": "a"}])",
            R"(message 0: 'role' is "tool" (expected user or system:)"},
           {R"([{"role": "assistant", "content": "a"}])",
            R"(message 0: 'role' is "assistant" (expected user)"},
           {R"([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])",
            R"(message 1: 'role' is "user" (expected assistant:)"},
           {R"([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])",
            R"(message 1: 'role' is "system" (expected assistant:)"},
           {R"([{"role": "system", "content": "a"}])", "the last of 1 messages is not the user's"},
           {R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])",
            "the last of 2 messages is not the user's"},
           {R"([{"role": "user", "content": "a", "tool_calls": []}])",
            "message 0: 'tool_calls' is not known (known: role, content)"},
       }) {
    EXPECT_THAT(user_error([&] { parse_conversation(c.json, "m.json"); }), HasSubstr(c.text)) << c.json;
  }
}

}  // namespace
}  // namespace kvlab
