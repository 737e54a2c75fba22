// How the families of chat templates write a conversation, as data: what stands before and behind messages.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/chat_template_outline.h"

namespace kvlab {

struct ChatWrapping {
  std::string before, after;
  bool trim = false;  // the message loses blanks at both ends
};

enum class SystemPlace {
  kRefused,
  kOwnTurn,
  kFirstUser,
  kLastUser
};  // kFirstUser: inside the user's wrapping

struct ChatLayout {
  std::string family;
  std::string start;  // before all, mostly BOS
  SystemPlace system_place = SystemPlace::kOwnTurn;
  ChatWrapping system, user, answer;
  std::string opening;   // behind the last message of the user
  std::string turn_end;  // the special token behind an answer
  std::optional<std::string> default_system;
  std::string needs_date;               // what to say where the template wants a date that nobody gave
  bool empty_system_unseen = false;     // an empty system message is as none
  bool trims_system_with_user = false;  // the two are one text when blanks are taken away
  bool drops_thoughts = false;          // answers lose what stands up to </think>
};

struct ChatFamily {
  const char* name;
  // The layout of a template of this family, or nothing. Options that it uses are taken out of `options`.
  std::optional<ChatLayout> (*layout)(const ChatOutline& outline, const ChatTemplate& chat,
                                      ChatOptions& options);
};

// In the order in which they are asked.
const std::vector<ChatFamily>& chat_families();

// The families of Mistral's versions, in a file of their own.
std::optional<ChatLayout> mistral_layout(const ChatOutline& outline, const ChatTemplate& chat,
                                         ChatOptions& options);

}  // namespace kvlab
