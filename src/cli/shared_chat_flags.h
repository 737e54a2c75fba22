// Flags of commands that speak with a model through its chat template.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "tokenizer/chat_template.h"

namespace kvlab {

struct ChatFlags {
  bool chat = false;
  std::string messages_file, thinking, template_file;
  std::optional<std::string> system, date;

  void declare(CLI::App& app);
  bool in_use() const { return chat || !messages_file.empty(); }
  // Throws UserError where flags do not go together.
  void check() const;
  // The prompt of the conversation in --messages, or else of `text` as the user's message.
  ChatPrompt render(const Tokenizer& tokenizer, const std::string& text) const;
};

// What a file holds; throws UserError naming the flag and the file.
std::string read_text_file(const char* flag, const std::string& path);

}  // namespace kvlab
