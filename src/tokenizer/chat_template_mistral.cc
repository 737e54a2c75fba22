// Mistral's chat templates. Their versions (v1, v3, v3-tekken, v7, v7-tekken) differ in the blanks around
// [INST] and in where a system message goes.
#include <array>

#include <fmt/format.h>

#include "tokenizer/chat_template_layout.h"

namespace kvlab {

namespace {

// The wrapping of the user's messages, if it is one of those known.
std::optional<ChatWrapping> user_wrapping(const ChatOutline& outline) {
  for (const char* before : {"[INST] ", " [INST] ", "[INST]"}) {
    for (const char* after : {" [/INST]", "[/INST]"}) {
      if (outline.has(fmt::format("{{{{'{}'+message.content+'{}'}}}}", before, after)))
        return ChatWrapping{before, after, false};
    }
  }
  // Where a message may hold images.
  if (outline.has("{{'[INST]'}}{%if message.content is string%}{{message.content}}{%else%}") &&
      outline.has("{%endif%}{{'[/INST]'}}"))
    return ChatWrapping{"[INST]", "[/INST]", false};
  return std::nullopt;
}

std::optional<ChatWrapping> answer_wrapping(const ChatOutline& outline, const std::string& eos) {
  struct Form {
    const char* fragment;
    const char* before;
    const char* after;
    bool trim;
  };
  constexpr std::array kForms{Form{"%}{{message.content+eos_token+' '}}", "", " ", false},
                              Form{"%}{{message.content+eos_token}}", "", "", false},
                              Form{"%}{{' '+message.content+eos_token}}", " ", "", false},
                              Form{"%}{{' '+message.content|trim+eos_token}}", " ", "", true}};
  for (const Form& form : kForms) {
    if (outline.has(form.fragment)) return ChatWrapping{form.before, eos + form.after, form.trim};
  }
  return std::nullopt;
}

// A system message inside the first or the last message of the user.
std::optional<SystemPlace> place_with_user(const ChatOutline& outline, const ChatWrapping& user) {
  const std::string written =
      fmt::format("%}}{{{{'{}'+system_message+'\n\n'+message.content+'{}'}}}}", user.before, user.after);
  if (outline.has("{%if loop.first and system_message is defined" + written)) return SystemPlace::kFirstUser;
  if (outline.has("{%if loop.last and system_message is defined" + written)) return SystemPlace::kLastUser;
  return std::nullopt;
}

// v7: a turn of its own, straight from the message.
bool set_system_turn(const ChatOutline& outline, ChatLayout& layout) {
  for (const char* before : {"[SYSTEM_PROMPT] ", "[SYSTEM_PROMPT]"}) {
    if (!outline.has(fmt::format(
            "{{%elif message.role=='system'%}}{{{{'{}'+message.content+'[/SYSTEM_PROMPT]'}}}}", before)))
      continue;
    layout.system_place = SystemPlace::kOwnTurn;
    layout.system = {before, "[/SYSTEM_PROMPT]"};
    return true;
  }
  return false;
}

// v7-tekken's default: a text with today's date (2025-06-20) in it, or a plain one. False: put together in a
// way that is not known.
bool set_default_system(const ChatOutline& outline, ChatLayout& layout, ChatOptions& options) {
  const auto plain = outline.string_between("{%set default_system_message='", "'%}");
  if (plain) {
    layout.default_system = plain;
    return true;
  }
  const auto before = outline.string_between("{%set default_system_message='", "'+today+'");
  const auto after = outline.string_between("'+today+'", "'%}");
  if (!before || !after || !outline.has("{%set today=strftime_now('%Y-%m-%d')%}")) return false;
  if (options.date) {
    layout.default_system = *before + *options.date + *after;
  } else {
    layout.needs_date =
        "names today's date in its default system message: give --date, as 2025-06-20, or --system";
  }
  options.date.reset();
  return true;
}

bool set_system_with_default(const ChatOutline& outline, ChatLayout& layout, ChatOptions& options) {
  for (const char* name : {"system_message", "system_prompt"}) {
    const size_t start = outline.text().find("{{bos_token}}");
    const size_t written =
        outline.text().find(fmt::format("{{{{'[SYSTEM_PROMPT]'+{}+'[/SYSTEM_PROMPT]'}}}}", name));
    if (written == std::string::npos || start > written ||
        !outline.has(fmt::format("{{%set {}=default_system_message%}}", name)) ||
        outline.has(fmt::format("{} is defined", name)))
      continue;
    layout.system_place = SystemPlace::kOwnTurn;
    layout.system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"};
    return set_default_system(outline, layout, options);
  }
  return false;
}

}  // namespace

std::optional<ChatLayout> mistral_layout(const ChatOutline& outline, const ChatTemplate& chat,
                                         ChatOptions& options) {
  const auto user = user_wrapping(outline);
  const auto answer = answer_wrapping(outline, chat.eos);
  if (!user || !answer || !outline.has("{{bos_token}}")) return std::nullopt;
  ChatLayout layout;
  layout.family = "Mistral";
  layout.start = chat.bos;
  layout.user = *user;
  layout.answer = *answer;
  layout.turn_end = chat.eos;
  if (const auto place = place_with_user(outline, *user)) {
    layout.system_place = *place;
    layout.system = {"", "\n\n"};
  } else if (outline.has("Only user and assistant roles are supported!") && !outline.has("system")) {
    layout.system_place = SystemPlace::kRefused;
  } else if (!set_system_with_default(outline, layout, options) && !set_system_turn(outline, layout)) {
    return std::nullopt;
  }
  return layout;
}

}  // namespace kvlab
