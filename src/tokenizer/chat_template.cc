#include "tokenizer/chat_template.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace kvlab {

namespace {

bool holds(std::string_view text, std::string_view mark) {
  return text.find(mark) != std::string_view::npos;
}

// Templates write line feeds as they are or as \n inside Jinja's quotes; here always as they are.
std::string with_line_feeds(std::string text) {
  for (size_t at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at + 1)) {
    text.replace(at, 2, "\n");
  }
  return text;
}

// Without blanks, line feeds and quotes, so that a layout can be looked for however it is written.
std::string compact(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\'' || c == '"'; });
  return text;
}

constexpr const char* kBlanks = " \t\n\r\f\v";

std::string trimmed_right(const std::string& text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// As Jinja's trim filter.
std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(kBlanks);
  return first == std::string::npos ? "" : trimmed_right(text.substr(first));
}

// A prompt under construction.
class PromptParts {
 public:
  PromptParts& fixed(std::string text) { return add(std::move(text), true); }
  PromptParts& given(std::string text) { return add(std::move(text), false); }
  ChatPrompt end(std::string turn_end) { return {std::move(parts_), std::move(turn_end)}; }

 private:
  PromptParts& add(std::string text, bool parse_special) {
    if (!text.empty()) parts_.push_back({std::move(text), parse_special});
    return *this;
  }
  std::vector<TextPart> parts_;
};

std::string leading_bos(const ChatTemplate& chat) {
  return holds(chat.text, "bos_token") ? chat.bos : "";
}

// What a ChatML template says where no system message is given: "<|im_start|>system\nTEXT<|im_end|>" with a
// plain TEXT, one that is not put together from parts.
std::optional<std::string> chatml_default_system(const std::string& text) {
  constexpr std::string_view kStart = "<|im_start|>system\n", kEnd = "<|im_end|>";
  for (size_t at = text.find(kStart); at != std::string::npos; at = text.find(kStart, at + 1)) {
    const size_t begin = at + kStart.size(), end = text.find(kEnd, begin);
    if (end == std::string::npos) break;
    const std::string system = text.substr(begin, end - begin);
    if (system.find_first_of("'\"{}") == std::string::npos) return system;
  }
  return std::nullopt;
}

ChatPrompt chatml(const ChatTemplate& chat, const ChatTurn& turn) {
  PromptParts parts;
  parts.fixed(leading_bos(chat));
  if (turn.system) {
    parts.fixed("<|im_start|>system\n").given(*turn.system).fixed("<|im_end|>\n");
  } else if (const auto system = chatml_default_system(chat.text)) {
    parts.fixed("<|im_start|>system\n" + *system + "<|im_end|>\n");
  }
  parts.fixed("<|im_start|>user\n").given(turn.user).fixed("<|im_end|>\n<|im_start|>assistant\n");
  return parts.end("<|im_end|>");
}

// Llama 3.1 and later begin with a system message of dates. The date of today is the one in the templates
// themselves, since what a run gives must not depend on the day.
ChatPrompt llama3(const ChatTemplate& chat, const ChatTurn& turn) {
  PromptParts parts;
  parts.fixed(leading_bos(chat));
  const bool dates = holds(chat.text, "Cutting Knowledge Date: ");
  if (dates || turn.system) {
    parts.fixed("<|start_header_id|>system<|end_header_id|>\n\n");
    if (dates) parts.fixed("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    parts.given(trimmed(turn.system.value_or(""))).fixed("<|eot_id|>");
  }
  parts.fixed("<|start_header_id|>user<|end_header_id|>\n\n").given(trimmed(turn.user));
  parts.fixed("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  return parts.end("<|eot_id|>");
}

ChatPrompt llama2(const ChatTemplate& chat, const ChatTurn& turn) {
  PromptParts parts;
  parts.fixed(chat.bos + "[INST] ");
  if (turn.system) {
    // The template trims the two together, so that blanks before the user's message stay.
    parts.fixed("<<SYS>>\n").given(*turn.system).fixed("\n<</SYS>>\n\n").given(trimmed_right(turn.user));
  } else {
    parts.given(trimmed(turn.user));
  }
  parts.fixed(" [/INST]");
  return parts.end(chat.eos);
}

// Versions differ in the blanks inside the brackets.
ChatPrompt mistral(const ChatTemplate& chat, const ChatTurn& turn) {
  PromptParts parts;
  parts.fixed(chat.bos + (holds(chat.text, "[INST] ") ? "[INST] " : "[INST]"));
  if (turn.system) parts.given(*turn.system + "\n\n");
  parts.given(turn.user).fixed(holds(chat.text, " [/INST]") ? " [/INST]" : "[/INST]");
  return parts.end(chat.eos);
}

ChatPrompt zephyr(const ChatTemplate& chat, const ChatTurn& turn) {
  PromptParts parts;
  if (turn.system) parts.fixed("<|system|>\n").given(*turn.system).fixed(chat.eos + "\n");
  parts.fixed("<|user|>\n").given(turn.user).fixed(chat.eos + "\n<|assistant|>\n");
  return parts.end(chat.eos);
}

bool is_zephyr(const std::string& text) {
  const std::string layout = compact(text);
  return holds(layout, "<|user|>+message[content]+eos_token") ||
         holds(layout, "<|user|>+message.content+eos_token");
}

struct Family {
  const char* name;
  bool (*recognises)(const std::string& text);
  ChatPrompt (*render)(const ChatTemplate& chat, const ChatTurn& turn);
  // Whether a template of this family writes a system message where one is given.
  bool (*takes_system)(const std::string& text);
};

bool names_system(const std::string& text) {
  return holds(text, "system");
}
// These write whatever role a message has.
bool any_role(const std::string&) {
  return true;
}

constexpr Family kFamilies[] = {
    {"Llama 3", [](const std::string& text) { return holds(text, "<|start_header_id|>"); }, llama3, any_role},
    {"ChatML",
     [](const std::string& text) {
       return holds(text, "<|im_start|>") && holds(text, "<|im_end|>") && !holds(text, "<|im_sep|>");
     },
     chatml, any_role},
    {"Zephyr", is_zephyr, zephyr, names_system},
    {"Llama 2", [](const std::string& text) { return holds(text, "<<SYS>>"); }, llama2, any_role},
    {"Mistral",
     [](const std::string& text) { return holds(text, "[/INST]") && !holds(text, "[SYSTEM_PROMPT]"); },
     mistral, names_system},
};

}  // namespace

ChatPrompt render_chat(const ChatTemplate& chat, const ChatTurn& turn) {
  if (chat.text.empty()) {
    throw UserError("the model has no chat template: give the prompt as it is, without --chat");
  }
  const ChatTemplate readable{with_line_feeds(chat.text), chat.bos, chat.eos};
  std::string known;
  for (const Family& family : kFamilies) {
    if (!family.recognises(readable.text)) {
      known += (known.empty() ? "" : ", ") + std::string(family.name);
      continue;
    }
    if (turn.system && !family.takes_system(readable.text)) {
      throw UserError("the model's chat template (" + std::string(family.name) + ") takes no system message");
    }
    return family.render(readable, turn);
  }
  throw UserError("the model's chat template is of no known family (known: " + known +
                  "): write the prompt as the model expects it, without --chat");
}

ChatIds encode_chat(const Tokenizer& tokenizer, const ChatTurn& turn) {
  const auto text_of = [&](int id) { return id < 0 ? std::string() : tokenizer.decode({id}, true); };
  const ChatPrompt prompt =
      render_chat({tokenizer.chat_template(), text_of(tokenizer.bos()), text_of(tokenizer.eos())}, turn);
  ChatIds ids;
  ids.prompt = tokenizer.encode_parts(prompt.parts);
  const std::vector<int32_t> end = tokenizer.encode(prompt.turn_end, true);
  if (end.size() == 1) ids.turn_end = end[0];
  return ids;
}

}  // namespace kvlab
