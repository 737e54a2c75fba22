#include "tokenizer/chat_template_messages.h"

#include <fmt/format.h>

#include "base/error.h"
#include "format/json_reader.h"

namespace kvlab {

namespace {

std::string text_of(const nlohmann::json& message, const char* key, const std::string& where) {
  const auto found = message.find(key);
  if (found == message.end()) throw UserError(fmt::format("{}: '{}' is missing", where, key));
  if (!found->is_string()) {
    throw UserError(fmt::format("{}: '{}' is {} (expected a text)", where, key, json_value_text(*found)));
  }
  return found->get<std::string>();
}

// What the template would write for more than a role and a text (tools, images) kvlab does not know.
void refuse_other_keys(const nlohmann::json& message, const std::string& where) {
  for (const auto& [key, value] : message.items()) {
    if (key != "role" && key != "content")
      throw UserError(fmt::format("{}: '{}' is not known (known: role, content)", where, key));
  }
}

void add_message(Conversation& conversation, size_t index, const nlohmann::json& message,
                 const std::string& file) {
  const std::string where = fmt::format("{}: message {}", file, index);
  if (!message.is_object()) {
    throw UserError(
        fmt::format("{} is {} (expected an object with role and content)", where, json_value_text(message)));
  }
  refuse_other_keys(message, where);
  const std::string role = text_of(message, "role", where);
  std::string content = text_of(message, "content", where);
  if (role == "system" && index == 0) {
    conversation.system = std::move(content);
    return;
  }
  const char* expected = conversation.turns.size() % 2 == 0 ? "user" : "assistant";
  if (role != expected) {
    throw UserError(
        fmt::format("{}: 'role' is {} (expected {}{}: after an optional system message user and "
                    "assistant take turns)",
                    where, json_value_text(role), expected, index == 0 ? " or system" : ""));
  }
  conversation.turns.push_back(std::move(content));
}

}  // namespace

Conversation parse_conversation(std::string_view json, const std::string& file) {
  const nlohmann::json messages = parse_json(json, file);
  if (!messages.is_array()) {
    throw UserError(
        fmt::format("{}: expected a list of messages, found {}", file, json_value_text(messages)));
  }
  Conversation conversation;
  for (size_t i = 0; i < messages.size(); ++i) add_message(conversation, i, messages[i], file);
  if (conversation.turns.size() % 2 == 0) {
    throw UserError(fmt::format("{}: the last of {} messages is not the user's: the model answers the user",
                                file, messages.size()));
  }
  return conversation;
}

}  // namespace kvlab
