// A context is read, compressed once at its end, and a continuation scored: what is kept, why, and at which
// loss, against reference values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/reconstruction.h"
#include "golden/golden_support.h"

namespace kvlab::testing {

using PerHead = std::vector<std::vector<std::vector<float>>>;  // [layer][KV head][position]

struct Continuation {
  std::vector<float> nll;
  // Right after the context:
  PerHead scores;  // that it was compressed by; empty where the scorer shows none outside of its own work
  PerHead kept;    // 1 or 0
  // Entries of a KV head that are left.
  int count(int layer, int head) const;
};

// `tokens` are the context and the continuation; its first token is predicted by the context's last.
Continuation run_prefill(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                         std::span<const int32_t> tokens, int64_t context, const CacheOptions& options = {});

// The prompts of the goldens: as if the model had no chat template.
std::shared_ptr<const ReconstructionPrompts> chatless_prompts(const Tokenizer& tokenizer);

// A recipe that this build has, or nothing, with the reason in `why`.
std::optional<MethodSpec> known_recipe(const std::string& recipe, std::string& why);

// What a difference of two scores is measured by at least: nothing where the scores of a layer have one sign;
// a hundredth of their deviation where they lie on both sides of zero.
double score_floor(const std::vector<double>& scores);

// Whether the recipe stands around another (`of=`).
bool wraps(const std::string& recipe);

}  // namespace kvlab::testing
