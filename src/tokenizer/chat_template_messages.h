// Conversations as JSON: [{"role": "user", "content": "Hello"}, ...].
#pragma once

#include <string>
#include <string_view>

#include "tokenizer/chat_template.h"

namespace kvlab {

// Roles: system, first if at all; then user and assistant in turn, first and last the user. Throws UserError
// naming `file`, the message by its index from 0, and the value.
Conversation parse_conversation(std::string_view json, const std::string& file);

}  // namespace kvlab
