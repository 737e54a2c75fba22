// The prompts of KVzip in a model's own words: its tokenizer's ids, its chat template's end of a turn.
#include "base/error.h"
#include "engine/reconstruction.h"
#include "tokenizer/chat_template.h"

namespace kvlab {

namespace {

constexpr const char* kFirst = "\n\nRepeat the previous context exactly.";
constexpr const char* kLater = "\n\nRepeat the part of the previous context exactly, starting with";

// Without thoughts ahead of the answer, where the template has a switch for them.
ChatPrompt render(const ChatTemplate& chat, const std::string& message) {
  const Conversation conversation{{}, {message}};
  try {
    return render_chat(chat, conversation, {false, {}});
  } catch (const UserError&) {
    return render_chat(chat, conversation, {});
  }
}

// What the template writes behind a user's message, up to where the answer begins.
std::vector<int32_t> answer_opening(const Tokenizer& tokenizer) {
  const ChatTemplate chat = chat_template_of(tokenizer);
  if (chat.text.empty()) return tokenizer.encode("\n");
  const std::string message = "context";
  std::string behind;
  for (const TextPart& part : render(chat, message).parts)
    behind = !part.parse_special && part.text == message ? "" : behind + part.text;
  return tokenizer.encode(behind);
}

}  // namespace

ReconstructionPrompts reconstruction_prompts(const Tokenizer& tokenizer) {
  ReconstructionPrompts prompts;
  try {
    prompts.suffix = answer_opening(tokenizer);
    prompts.first = tokenizer.encode(kFirst);
    prompts.later = tokenizer.encode(kLater);
  } catch (const UserError& error) {
    prompts.problem = error.what();
  }
  return prompts;
}

}  // namespace kvlab
