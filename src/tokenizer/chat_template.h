// Chat templates: the text around the messages of a conversation that an instruct model was trained with.
// Model files carry them as Jinja programs. kvlab runs no Jinja: no implementation for C++ is packaged where
// kvlab takes its dependencies from, and it would be larger than all templates together. So the families in
// use are written here, each recognised by the expressions with which its template writes a message
// (chat_template_outline.h), and what is not recognised is refused, never guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace kvlab {

// A template, with the texts of the special tokens that it names; "" where the tokenizer has none.
struct ChatTemplate {
  std::string text;
  std::string bos, eos;
};

ChatTemplate chat_template_of(const Tokenizer& tokenizer);

// What was said so far: by the user and the assistant in turn, first and last by the user. Without a system
// message the template's own default, if it has one, stands in its place.
struct Conversation {
  std::optional<std::string> system;
  std::vector<std::string> turns;
};

// What some templates ask for beside the messages.
struct ChatOptions {
  std::optional<bool> thinking;     // of templates with such a switch [as the template says]
  std::optional<std::string> date;  // today's, as the template is to show it [the one in the template itself]
};

// The prompt up to where the assistant's answer begins. Only the template's own parts may hold special
// tokens.
struct ChatPrompt {
  std::vector<TextPart> parts;
  std::string turn_end;  // the special token that ends the answer
  std::string family;

  std::string text() const;
};

// Throws UserError: no template, one of no known family, turns that do not end with the user's, a message
// that is not UTF-8, or what the template has no place for (a system message, thinking, a date).
ChatPrompt render_chat(const ChatTemplate& chat, const Conversation& conversation,
                       const ChatOptions& options = {});

struct ChatIds {
  std::vector<int32_t> prompt;
  int32_t turn_end = -1;  // -1: the template ends an answer with no token of its own
};

// A rendered prompt as ids. BOS is in them where the template writes it.
ChatIds encode_chat(const Tokenizer& tokenizer, const ChatPrompt& prompt);

}  // namespace kvlab
