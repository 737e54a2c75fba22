// Text generation over a session: the prompt in long extends, then one extend of one token after the other,
// so that a method acts exactly as it would on given text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampling.h"
#include "engine/session.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  SamplingOptions sampling;
  std::vector<int32_t> end_tokens;  // the first of these ends the generation; empty: none does
  std::vector<std::string> stop;    // and so does the first of these texts, across tokens too
};

enum class FinishReason { kEos, kStop, kLength, kInterrupted };

const char* finish_name(FinishReason reason);  // "eos", "stop", "length", "interrupted"

struct Generation {
  std::vector<int32_t>
      ids;           // the new tokens, with the end token or the stop string's tokens where they ended it
  std::string text;  // of the ids, without special tokens and without the stop string; valid UTF-8
  FinishReason finish = FinishReason::kLength;
  double prefill_seconds = 0;  // the prompt and the end of the context
  double decode_seconds = 0;   // from there on
};

// A new token and the text that may be shown with it: "" while a character or a stop string is incomplete.
// What is held back at the end comes with id -1.
using TokenCallback = std::function<void(int32_t id, const std::string& text)>;

// Throws UserError: an empty prompt, ids outside the model's vocabulary, and more tokens in all than the
// model was trained for, unless `beyond_context`.
void check_prompt(const ModelConfig& config, std::span<const int32_t> prompt, int64_t max_new_tokens,
                  bool beyond_context);

// Extends a session by `prompt`, ends the context (recipes with at=context act), and goes on token by token.
// The session holds the prompt and all of `ids` afterwards, so that its cache is that of the same tokens
// given at once. Stops in good order when stop_requested(), even before the first token. Throws UserError for
// options out of range.
Generation generate(Session& session, std::span<const int32_t> prompt, const Tokenizer& tokenizer,
                    const GenerateOptions& options, const TokenCallback& on_token = {});

}  // namespace kvlab
