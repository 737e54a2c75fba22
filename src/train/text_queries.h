// Has a model read passages of the training texts and looks at its queries.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "train/passages.h"
#include "train/query_moments.h"
#include "train/trainer.h"

namespace kvlab {

// The fields that trainers of queries share: how many passages, how long.
FieldList passage_fields(int64_t passages, int64_t tokens);

// Passages of the texts, drawn as those fields say, all longer than `skipped` tokens. Throws UserError: texts
// too short.
std::vector<Passage> passages_to_read(const TrainContext& context, int64_t skipped = 0);
// A passage's tokens, behind BOS where the tokenizer adds it.
std::vector<int32_t> tokens_to_read(const TrainContext& context, const Passage& passage);

// Moments of the queries over passages drawn from the texts (the trainer's fields `passages` and
// `passage_tokens`); the first `skipped` tokens of each do not count. Nothing when the user asked to stop.
// Throws UserError: texts too short.
std::optional<QueryMoments> moments_of_texts(const TrainContext& context, QueryMoments::Form form,
                                             int64_t skipped);

}  // namespace kvlab
