// Chat templates: the text around a user's message that an instruct model was trained with. Model files carry
// them as Jinja programs. kvlab runs no Jinja: it recognises the families in use by marks in the program's
// text and writes their prompt itself, and it refuses what it does not recognise.
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

// One message of a user, after a system message where one is given. Without one the template's own default,
// if it has one, stands in its place.
struct ChatTurn {
  std::optional<std::string> system;
  std::string user;
};

// The prompt up to where the assistant's answer begins. Only the template's own parts may hold special
// tokens.
struct ChatPrompt {
  std::vector<TextPart> parts;
  std::string turn_end;  // the special token that ends the answer
};

// Throws UserError: no template, one of no known family (ChatML, Llama 3, Llama 2, Mistral, Zephyr), or a
// system message where the template takes none.
ChatPrompt render_chat(const ChatTemplate& chat, const ChatTurn& turn);

struct ChatIds {
  std::vector<int32_t> prompt;
  int32_t turn_end = -1;  // -1: the template ends an answer with no token of its own
};

// render_chat with the tokenizer's template, as ids. BOS is in them where the template writes it.
ChatIds encode_chat(const Tokenizer& tokenizer, const ChatTurn& turn);

}  // namespace kvlab
