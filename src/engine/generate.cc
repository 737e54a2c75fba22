#include "engine/generate.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/progress.h"
#include "engine/scoring.h"
#include "engine/text_stream.h"

namespace kvlab {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The states of the last tokens of the prompt. In blocks, so that Ctrl-C need not wait for all of a long
// prompt and only one block's states are held.
HiddenStates extend_prompt(Session& session, std::span<const int32_t> prompt) {
  HiddenStates states;
  while (!prompt.empty() && !stop_requested()) {
    const auto block = prompt.first(std::min<size_t>(Session::kMaxBlock, prompt.size()));
    states = session.extend(block);
    prompt = prompt.subspan(block.size());
  }
  return states;
}

// Goes on after the prompt. Every new token is extended too, the last included.
class Decoding {
 public:
  Decoding(Session& session, const Tokenizer& tokenizer, const GenerateOptions& options,
           const TokenCallback& on_token)
      : session_(session),
        options_(options),
        on_token_(on_token),
        sampler_(options.sampling),
        text_(tokenizer, options.stop),
        // Rows that pad the embedding beyond the tokenizer's vocabulary are no tokens.
        vocab_(std::min(session.model().config().vocab, tokenizer.vocab_size())) {}

  void run(HiddenStates states, Generation& result) {
    while (!ended(result)) {
      const std::vector<float> logits = next_logits(session_.model(), states, states.rows - 1);
      const int32_t id = sampler_.next(std::span(logits).first(vocab_));
      result.ids.push_back(id);
      show(id, text_.push(id), result);
      states = session_.extend({&id, 1});
    }
    const std::string rest = text_.finish();
    if (!rest.empty()) show(-1, rest, result);
  }

 private:
  bool ended(Generation& result) const {
    if (text_.stopped()) {
      result.finish = FinishReason::kStop;
    } else if (!result.ids.empty() && ends(result.ids.back())) {
      result.finish = FinishReason::kEos;
    } else if (static_cast<int64_t>(result.ids.size()) >= options_.max_new_tokens) {
      result.finish = FinishReason::kLength;
    } else if (stop_requested()) {
      result.finish = FinishReason::kInterrupted;
    } else {
      return false;
    }
    return true;
  }

  bool ends(int32_t id) const {
    return std::find(options_.end_tokens.begin(), options_.end_tokens.end(), id) != options_.end_tokens.end();
  }

  void show(int32_t id, const std::string& text, Generation& result) const {
    result.text += text;
    if (on_token_) on_token_(id, text);
  }

  Session& session_;
  const GenerateOptions& options_;
  const TokenCallback& on_token_;
  Sampler sampler_;
  TextStream text_;
  int vocab_;
};

}  // namespace

const char* finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  return "";
}

void check_prompt(const ModelConfig& config, std::span<const int32_t> prompt, int64_t max_new_tokens,
                  bool beyond_context) {
  if (prompt.empty()) throw UserError("the prompt is empty: there is no token to go on from");
  for (const int32_t id : prompt) {
    if (id >= 0 && id < config.vocab) continue;
    throw UserError("the prompt's token id " + std::to_string(id) + " is outside the model's vocabulary of " +
                    std::to_string(config.vocab));
  }
  const auto tokens = static_cast<int64_t>(prompt.size());
  if (beyond_context || config.context <= 0 || tokens + max_new_tokens <= config.context) return;
  throw UserError(
      "the prompt has " + std::to_string(tokens) + " tokens and " + std::to_string(max_new_tokens) +
      " new ones are asked for, the model was trained for " + std::to_string(config.context) +
      (tokens < config.context ? "; give --max_new_tokens " + std::to_string(config.context - tokens) + " or "
                               : "; give a shorter prompt or ") +
      "--beyond_context");
}

Generation generate(Session& session, std::span<const int32_t> prompt, const Tokenizer& tokenizer,
                    const GenerateOptions& options, const TokenCallback& on_token) {
  KVLAB_CHECK(!prompt.empty());
  Decoding decoding(session, tokenizer, options, on_token);  // first, since it checks the options
  Generation result;
  const auto start = Clock::now();
  HiddenStates states = extend_prompt(session, prompt);
  const bool whole = !stop_requested();
  if (whole) session.end_context();
  result.prefill_seconds = seconds_since(start);
  const auto decode_start = Clock::now();
  if (whole) {
    decoding.run(std::move(states), result);
  } else {
    result.finish = FinishReason::kInterrupted;
  }
  result.decode_seconds = seconds_since(decode_start);
  return result;
}

}  // namespace kvlab
