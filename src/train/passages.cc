#include "train/passages.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "tokenizer/chat_template.h"

namespace kvlab {

namespace {

constexpr const char* kRequest = "\n\nRepeat the previous context exactly.";
// Stands for the passage while a template is written out; no special token, and nothing to trim.
constexpr const char* kMark = "kvlab:passage";

// Indices of the `count` least of `size` hashes, ascending.
std::vector<int32_t> draw(int64_t size, int64_t count, uint64_t seed) {
  std::vector<std::pair<uint64_t, int32_t>> order(static_cast<size_t>(size));
  for (int32_t i = 0; i < size; ++i) order[i] = {mix64(mix64(seed) ^ static_cast<uint64_t>(i)), i};
  std::sort(order.begin(), order.end());
  std::vector<int32_t> drawn;
  for (int64_t i = 0; i < std::min(count, size); ++i) drawn.push_back(order[i].second);
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

RepeatFrame chat_frame(const Tokenizer& tokenizer) {
  ChatPrompt prompt;
  try {
    prompt = render_chat(chat_template_of(tokenizer), {std::nullopt, {std::string(kMark) + kRequest}});
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + "; train with --prompt plain");
  }
  std::vector<TextPart> before, between;
  bool seen = false;
  for (const TextPart& part : prompt.parts) {
    const size_t at = seen ? std::string::npos : part.text.find(kMark);
    if (at == std::string::npos) {
      (seen ? between : before).push_back(part);
      continue;
    }
    seen = true;
    before.push_back({part.text.substr(0, at), part.parse_special});
    between.push_back({part.text.substr(at + std::string(kMark).size()), part.parse_special});
  }
  KVLAB_CHECK(seen);
  return {tokenizer.encode_parts(before), tokenizer.encode_parts(between), "chat (" + prompt.family + ")"};
}

RepeatFrame plain_frame(const Tokenizer& tokenizer) {
  RepeatFrame frame;
  if (tokenizer.add_bos() && tokenizer.bos() >= 0) frame.before.push_back(tokenizer.bos());
  frame.between = tokenizer.encode(std::string(kRequest) + "\n\n");
  frame.form = "plain";
  return frame;
}

}  // namespace

std::vector<Passage> cut_passages(const std::vector<TrainText>& texts, int tokens, uint64_t seed) {
  const int least = std::max(1, tokens * 3 / 4), most = std::max(least, tokens * 5 / 4);
  std::vector<Passage> passages;
  for (size_t t = 0; t < texts.size(); ++t) {
    const auto size = static_cast<int64_t>(texts[t].tokens.size());
    for (int64_t at = 0; size - at >= least;) {
      const uint64_t random = mix64(mix64(seed) ^ passages.size());
      const int64_t wanted = least + static_cast<int64_t>(random % static_cast<uint64_t>(most - least + 1));
      const int64_t length = std::min(wanted, size - at);
      passages.push_back({static_cast<int>(t), at, static_cast<int>(length)});
      at += length;
    }
  }
  return passages;
}

std::vector<Passage> draw_passages(const std::vector<Passage>& passages, int64_t count, uint64_t seed) {
  std::vector<Passage> drawn;
  for (const int32_t i : draw(static_cast<int64_t>(passages.size()), count, seed))
    drawn.push_back(passages[i]);
  return drawn;
}

std::vector<int32_t> draw_positions(int length, int count, uint64_t seed) {
  KVLAB_CHECK(count <= length);
  return draw(length, count, seed);
}

RepeatFrame repeat_frame(const Tokenizer* tokenizer, PromptForm form) {
  if (!tokenizer) {
    if (form != PromptForm::kAuto)
      throw UserError("--prompt: the model has no tokenizer, so its prompts have no words");
    return {{}, {}, "bare"};
  }
  if (form == PromptForm::kAuto)
    form = tokenizer->chat_template().empty() ? PromptForm::kPlain : PromptForm::kChat;
  return form == PromptForm::kChat ? chat_frame(*tokenizer) : plain_frame(*tokenizer);
}

RepeatPrompt repeat_prompt(const RepeatFrame& frame, std::span<const int32_t> passage) {
  RepeatPrompt prompt;
  std::vector<int32_t>& tokens = prompt.tokens;
  tokens = frame.before;
  prompt.first = static_cast<int>(tokens.size());
  tokens.insert(tokens.end(), passage.begin(), passage.end());
  tokens.insert(tokens.end(), frame.between.begin(), frame.between.end());
  prompt.second = static_cast<int>(tokens.size());
  tokens.insert(tokens.end(), passage.begin(), passage.end());
  prompt.length = static_cast<int>(passage.size());
  return prompt;
}

}  // namespace kvlab
