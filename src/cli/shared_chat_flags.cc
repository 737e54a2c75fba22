#include "cli/shared_chat_flags.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "cli/common.h"
#include "tokenizer/chat_template_messages.h"

namespace kvlab {

void ChatFlags::declare(CLI::App& app) {
  app.add_flag("--chat", chat, "put the prompt into the model's chat template, as a user's message");
  app.add_option(
      "--messages", messages_file,
      "a JSON file with a conversation to answer, [{\"role\": \"user\", \"content\": \"...\"}, ...], put "
      "into the chat template [this or --prompt]");
  app.add_option("--system", system, "system message [the template's own, where it has one]");
  app.add_option("--thinking", thinking, "yes or no, for templates with that switch [as the template says]");
  app.add_option("--date", date,
                 "today's date, for templates that show one [the template's own, where it has one]");
  app.add_option("--chat_template", template_file, "a file with the template to use [the model's]");
}

void ChatFlags::check() const {
  if (chat && !messages_file.empty())
    throw UserError("--messages is a conversation of its own: leave --chat out");
  if (system && !messages_file.empty())
    throw UserError("--system does not go with --messages: put a system message first in " + messages_file);
  if (in_use()) return;
  if (system) throw UserError("--system needs --chat");
  if (!thinking.empty()) throw UserError("--thinking needs --chat or --messages");
  if (date) throw UserError("--date needs --chat or --messages");
  if (!template_file.empty()) throw UserError("--chat_template needs --chat or --messages");
}

ChatPrompt ChatFlags::render(const Tokenizer& tokenizer, const std::string& text) const {
  ChatTemplate chat_template = chat_template_of(tokenizer);
  if (!template_file.empty()) chat_template.text = read_text_file("--chat_template", template_file);
  const Conversation conversation =
      messages_file.empty() ? Conversation{system, {text}}
                            : parse_conversation(read_text_file("--messages", messages_file), messages_file);
  return render_chat(chat_template, conversation, {parse_yes_no("--thinking", thinking), date});
}

std::string read_text_file(const char* flag, const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored)) {
    throw UserError(std::string(flag) + " " + path + ": cannot be read");
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace kvlab
