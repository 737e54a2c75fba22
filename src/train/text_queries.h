// Has a model read passages of the training texts and looks at its queries.
#pragma once

#include <optional>

#include "train/query_moments.h"
#include "train/trainer.h"

namespace kvlab {

// The fields that trainers of queries share: how many passages, how long.
FieldList passage_fields(int64_t passages, int64_t tokens);

// Moments of the queries over passages drawn from the texts (the trainer's fields `passages` and
// `passage_tokens`); the first `skipped` tokens of each do not count. Nothing when the user asked to stop.
// Throws UserError: texts too short.
std::optional<QueryMoments> moments_of_texts(const TrainContext& context, QueryMoments::Form form,
                                             int64_t skipped);

}  // namespace kvlab
