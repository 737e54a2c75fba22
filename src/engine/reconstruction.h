// Scores from repeating the context (Reconstruction in cache/scorer.h). The context is cut into parts; each
// is fed once more to a fork of the session, behind a prompt that asks for it. An entry is worth the most
// attention that any token behind the context pays to it, where the softmax runs over the first tokens, the
// part and what is being fed, as KVzip has it. The forks themselves attend to everything.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cache/kv_cache.h"
#include "engine/session.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

// What is fed ahead of a part, as token ids.
struct ReconstructionPrompts {
  std::vector<int32_t> first;  // asks for the first part
  std::vector<int32_t>
      later;  // asks for a later part, that which begins with ...: the tokens before it follow
  std::vector<int32_t> suffix;  // then: where the answer begins
  std::string problem;          // why there are none; "" when there are
};

// The prompts of KVzip, the suffix from the tokenizer's chat template; a line break where it has none. A
// template of no known family becomes `problem`.
ReconstructionPrompts reconstruction_prompts(const Tokenizer& tokenizer);

// What the session's method will ask for at the end of the context; nothing where it acts without.
std::optional<Reconstruction> reconstruction_of(const KvCache& cache);

// Throws UserError where `prompts` cannot be used.
void check_prompts(const KvCache& cache, const ReconstructionPrompts* prompts);

struct ReconstructedScores {
  ContextScores scores;
  int64_t peak_bytes = 0;  // of the largest fork, the session's own entries included
};

// `context`: all tokens of the session so far, of which nothing has been evicted; its cache has prompts.
ReconstructedScores reconstruct_scores(const Session& session, std::span<const int32_t> context,
                                       const Reconstruction& how);

}  // namespace kvlab
