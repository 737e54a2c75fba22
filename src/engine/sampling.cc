#include "engine/sampling.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace kvlab {

namespace {

[[noreturn]] void refuse(const char* what, double value, const char* expected) {
  throw UserError(fmt::format("{} {} is out of range (expected {})", what, value, expected));
}

[[noreturn]] void refuse_logits() {
  throw UserError("the model's output holds values that are not numbers: its weights are damaged");
}

bool likelier(const TokenChance& a, const TokenChance& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
}

void normalise(std::vector<TokenChance>& chances) {
  double sum = 0;
  for (const TokenChance& chance : chances) sum += chance.probability;
  for (TokenChance& chance : chances) chance.probability /= sum;
}

void keep_likeliest(std::vector<TokenChance>& chances, int64_t count) {
  if (count <= 0 || count >= static_cast<int64_t>(chances.size())) return;
  std::nth_element(chances.begin(), chances.begin() + count - 1, chances.end(), likelier);
  chances.resize(count);
}

// A heap, since the few tokens that reach `top_p` are mostly far fewer than the vocabulary.
void keep_nucleus(std::vector<TokenChance>& chances, double top_p) {
  if (top_p >= 1) return;
  const auto less_likely = [](const TokenChance& a, const TokenChance& b) { return likelier(b, a); };
  std::make_heap(chances.begin(), chances.end(), less_likely);
  std::vector<TokenChance> nucleus;
  for (double reached = 0; reached < top_p && !chances.empty();) {
    std::pop_heap(chances.begin(), chances.end(), less_likely);
    nucleus.push_back(chances.back());
    chances.pop_back();
    reached += nucleus.back().probability;
  }
  chances = std::move(nucleus);
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature)) {
    refuse("temperature", options.temperature, "0 or more; 0 takes the likeliest token");
  }
  if (options.top_k < 0) {
    throw UserError(
        fmt::format("top_k {} is out of range (expected 0 or more; 0 takes all tokens)", options.top_k));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) refuse("top_p", options.top_p, "above 0 and at most 1");
}

int32_t greedy_token(std::span<const float> logits) {
  int32_t best = -1;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id])) continue;
    if (best < 0 || logits[id] > logits[best]) best = static_cast<int32_t>(id);
  }
  if (best < 0) refuse_logits();
  return best;
}

std::vector<TokenChance> token_chances(std::span<const float> logits, const SamplingOptions& options) {
  const double top = logits[greedy_token(logits)];
  std::vector<TokenChance> chances(logits.size());
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!std::isfinite(logits[id])) refuse_logits();
    // Divided after the maximum is taken off, so that no temperature overflows.
    chances[id] = {static_cast<int32_t>(id), std::exp((logits[id] - top) / options.temperature)};
  }
  keep_likeliest(chances, options.top_k);
  normalise(chances);
  keep_nucleus(chances, options.top_p);
  normalise(chances);
  return chances;
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  check_sampling(options);
}

int32_t Sampler::next(std::span<const float> logits) {
  const uint64_t pick = picks_++;
  if (options_.temperature == 0) return greedy_token(logits);
  double draw = static_cast<double>(mix64(mix64(options_.seed) ^ pick) >> 11) * 0x1p-53;
  int32_t id = -1;
  for (const TokenChance& chance : token_chances(logits, options_)) {
    if (chance.probability == 0) continue;  // rounding may leave a little of the sum over for the last one
    id = chance.id;
    draw -= chance.probability;
    if (draw < 0) break;
  }
  return id;
}

}  // namespace kvlab
