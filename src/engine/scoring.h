// What the model says about given tokens: losses, and how far a compressed run is from the baseline.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/session.h"

namespace kvlab {

// nll[r] = -log p(targets[r]) from row r of `states`, in nats. states.rows >= targets.size().
std::vector<float> token_losses(const Model& model, const HiddenStates& states,
                                std::span<const int32_t> targets);
// The same for several runs, whose rows share the blocks of the output head's products.
std::vector<std::vector<float>> token_losses(const Model& model, std::span<const HiddenStates* const> states,
                                             std::span<const std::span<const int32_t>> targets);

// KL(base || own) over the whole vocabulary in nats, and whether both name the same most likely token, per
// row.
struct Fidelity {
  std::vector<float> kl;
  std::vector<uint8_t> same_top;
};
Fidelity compare_states(const Model& model, const HiddenStates& base, const HiddenStates& own, int64_t rows);
// The same for several pairs of runs over all their rows, which share the blocks of the products.
std::vector<Fidelity> compare_states(const Model& model, std::span<const HiddenStates* const> base,
                                     std::span<const HiddenStates* const> own);

// The most likely next token after every row; of equals the lowest id.
std::vector<int32_t> most_likely(const Model& model, const HiddenStates& states);
int32_t most_likely(const Model& model, const HiddenStates& states, int64_t row);

// The logits of the whole vocabulary, [rows][vocab], after rows first, first + 1, ...; rows <= kNarrowRows.
std::vector<float> next_logits(const Model& model, const HiddenStates& states, int64_t first,
                               int64_t rows = 1);

}  // namespace kvlab
