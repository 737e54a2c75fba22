// Which token comes next: the likeliest, or one drawn from what temperature, top-k and top-p leave.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kvlab {

struct SamplingOptions {
  double temperature = 0;  // 0: the likeliest token, always
  int64_t top_k = 0;       // only the k likeliest tokens; 0: all
  double top_p = 1;        // only the likeliest tokens that together reach this probability
  uint64_t seed = 0;
};

// Throws UserError: a temperature that is negative or not finite, top_k below 0, top_p outside (0, 1].
void check_sampling(const SamplingOptions& options);

struct TokenChance {
  int32_t id = 0;
  double probability = 0;
};

// The tokens that may be drawn, with probabilities that sum to 1. Temperature acts first, then top_k, then
// top_p on what top_k leaves, as in transformers. Of tokens equally likely at a border the lower ids stay.
// options.temperature > 0. Throws UserError where a logit is not a number.
std::vector<TokenChance> token_chances(std::span<const float> logits, const SamplingOptions& options);

// The likeliest token; on ties the lowest id. Throws UserError where no logit is a number.
int32_t greedy_token(std::span<const float> logits);

// Picks one token after the other. The n-th pick depends on its logits, the options and n alone.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);  // throws UserError, as check_sampling
  int32_t next(std::span<const float> logits);

 private:
  SamplingOptions options_;
  uint64_t picks_ = 0;
};

}  // namespace kvlab
