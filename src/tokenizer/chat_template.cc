#include "tokenizer/chat_template.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "tokenizer/chat_template_layout.h"
#include "tokenizer/chat_template_outline.h"
#include "tokenizer/utf8.h"

namespace kvlab {

namespace {

// What Python's strip() takes away.
bool is_blank(char32_t c) {
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

std::string trimmed_right(const std::string& text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t begin = previous_code_point(text, end);
    size_t at = begin;
    if (!is_blank(next_code_point(text, at))) break;
    end = begin;
  }
  return text.substr(0, end);
}

std::string trimmed(const std::string& text) {
  size_t begin = 0;
  for (size_t at = 0; begin < text.size() && is_blank(next_code_point(text, at)); begin = at) {
  }
  return trimmed_right(text.substr(begin));
}

// A prompt under construction.
class PromptParts {
 public:
  PromptParts& fixed(std::string text) { return add(std::move(text), true); }
  PromptParts& given(std::string text) { return add(std::move(text), false); }
  PromptParts& message(const ChatWrapping& wrapping, const std::string& text) {
    return fixed(wrapping.before).given(wrapping.trim ? trimmed(text) : text).fixed(wrapping.after);
  }
  std::vector<TextPart> take() { return std::move(parts_); }

 private:
  PromptParts& add(std::string text, bool parse_special) {
    if (!text.empty()) parts_.push_back({std::move(text), parse_special});
    return *this;
  }
  std::vector<TextPart> parts_;
};

std::string without_thoughts(const std::string& answer) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = answer.rfind(kEnd);
  if (end == std::string::npos) return answer;
  const size_t begin = answer.find_first_not_of('\n', end + kEnd.size());
  return begin == std::string::npos ? "" : answer.substr(begin);
}

void write_user(PromptParts& parts, const ChatLayout& layout, const std::string& text,
                const std::optional<std::string>& system) {
  if (!system) {
    parts.message(layout.user, text);
  } else if (layout.trims_system_with_user) {
    const std::string rest = trimmed_right(text);
    const std::string& after = layout.system.after;
    parts.fixed(layout.user.before + layout.system.before).given(*system);
    parts.fixed(rest.empty() ? trimmed_right(after) : after).given(rest).fixed(layout.user.after);
  } else {
    parts.fixed(layout.user.before).message(layout.system, *system);
    parts.given(layout.user.trim ? trimmed(text) : text).fixed(layout.user.after);
  }
}

std::vector<TextPart> write(const ChatLayout& layout, const std::optional<std::string>& system,
                            const std::vector<std::string>& turns) {
  PromptParts parts;
  parts.fixed(layout.start);
  if (system && layout.system_place == SystemPlace::kOwnTurn) parts.message(layout.system, *system);
  for (size_t i = 0; i < turns.size(); ++i) {
    if (i % 2 == 1) {
      parts.message(layout.answer, layout.drops_thoughts ? without_thoughts(turns[i]) : turns[i]);
      continue;
    }
    const bool holds_system = (layout.system_place == SystemPlace::kFirstUser && i == 0) ||
                              (layout.system_place == SystemPlace::kLastUser && i + 1 == turns.size());
    write_user(parts, layout, turns[i], holds_system ? system : std::nullopt);
  }
  parts.fixed(layout.opening);
  return parts.take();
}

void check(const Conversation& conversation) {
  if (conversation.turns.size() % 2 == 0) {
    throw UserError(
        fmt::format("a conversation of {} turns does not end with the user's: the user and the "
                    "assistant take turns, the user first and last",
                    conversation.turns.size()));
  }
  const auto check_text = [](const std::string& text, const std::string& what) {
    if (const size_t at = find_invalid_utf8(text); at != std::string::npos)
      throw UserError(fmt::format("{} is not valid UTF-8 at byte {}", what, at));
  };
  if (conversation.system) check_text(*conversation.system, "the system message");
  for (size_t i = 0; i < conversation.turns.size(); ++i)
    check_text(conversation.turns[i], fmt::format("turn {}", i));
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

// The first marks of an unknown template that look like special tokens: <...> and [...] without blanks.
std::string marks_of(const std::string& text) {
  constexpr size_t kMost = 6, kLongest = 32;
  std::vector<std::string> marks;
  for (size_t at = text.find_first_of("<["); at != std::string::npos && marks.size() < kMost;
       at = text.find_first_of("<[", at + 1)) {
    const size_t end = text.find_first_of(" \t\r\n'\"{}()+,:", at);
    const size_t close = text.find(text[at] == '<' ? '>' : ']', at);
    if (close == std::string::npos || close > end || close - at > kLongest || close - at < 4) continue;
    std::string mark = text.substr(at, close + 1 - at);
    if (mark[0] == '[' && std::any_of(mark.begin(), mark.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      continue;
    if (std::find(marks.begin(), marks.end(), mark) == marks.end()) marks.push_back(std::move(mark));
  }
  return marks.empty() ? "it has no marks such as <|user|>" : "its marks: " + joined(marks, " ");
}

UserError unknown_family(const std::string& text) {
  std::vector<std::string> names;
  for (const ChatFamily& family : chat_families()) names.push_back(family.name);
  return UserError(
      fmt::format("the model's chat template is of no known family ({}; known: {}): write the prompt as the "
                  "model expects it, without --chat",
                  marks_of(text), joined(names, ", ")));
}

// What was given and has no place in the template.
void refuse_unused(const ChatLayout& layout, const Conversation& conversation, const ChatOptions& unused) {
  const std::string name = "the model's chat template (" + layout.family + ") ";
  if (conversation.system && layout.system_place == SystemPlace::kRefused)
    throw UserError(name + "takes no system message");
  if (unused.thinking) throw UserError(name + "has no switch for thinking: leave --thinking out");
  if (unused.date) throw UserError(name + "shows no date: leave --date out");
  if (!conversation.system && !layout.needs_date.empty()) throw UserError(name + layout.needs_date);
}

// In a thinking template such a message is taken for a tool's, and what follows is written otherwise.
void refuse_tool_responses(const ChatLayout& layout, const std::vector<std::string>& turns) {
  if (!layout.drops_thoughts) return;
  for (size_t i = 0; i < turns.size(); i += 2) {
    if (turns[i].starts_with("<tool_response>") && turns[i].ends_with("</tool_response>")) {
      throw UserError(
          fmt::format("turn {} is a tool's response, which the model's chat template ({}) writes in "
                      "another way: kvlab knows conversations without tools",
                      i, layout.family));
    }
  }
}

}  // namespace

std::string ChatPrompt::text() const {
  std::string all;
  for (const TextPart& part : parts) all += part.text;
  return all;
}

ChatTemplate chat_template_of(const Tokenizer& tokenizer) {
  const auto text_of = [&](int id) { return id < 0 ? std::string() : tokenizer.decode({id}, true); };
  return {tokenizer.chat_template(), text_of(tokenizer.bos()), text_of(tokenizer.eos())};
}

ChatPrompt render_chat(const ChatTemplate& chat, const Conversation& conversation,
                       const ChatOptions& options) {
  if (chat.text.empty()) {
    throw UserError("the model has no chat template: give the prompt as it is, without --chat");
  }
  check(conversation);
  const ChatOutline outline(chat.text);
  for (const ChatFamily& family : chat_families()) {
    ChatOptions unused = options;
    const std::optional<ChatLayout> layout = family.layout(outline, chat, unused);
    if (!layout) continue;
    refuse_unused(*layout, conversation, unused);
    refuse_tool_responses(*layout, conversation.turns);
    std::optional<std::string> system = conversation.system ? conversation.system : layout->default_system;
    if (layout->empty_system_unseen && system == "") system.reset();
    return {write(*layout, system, conversation.turns), layout->turn_end, layout->family};
  }
  throw unknown_family(chat.text);
}

ChatIds encode_chat(const Tokenizer& tokenizer, const ChatPrompt& prompt) {
  ChatIds ids{tokenizer.encode_parts(prompt.parts), -1};
  const std::vector<int32_t> end = tokenizer.encode(prompt.turn_end, true);
  if (end.size() == 1) ids.turn_end = end[0];
  return ids;
}

}  // namespace kvlab
