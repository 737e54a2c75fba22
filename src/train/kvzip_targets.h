// What KVzap learns to predict: the log of the normalised KVzip+ score (arXiv:2601.07891) of every token of a
// passage that the model repeats. For layer and KV head, token i of the first copy,
//   y_i = ln max over the group's query heads g and the tokens j of the second copy of
//         A^g_ji ||W_O^g v_i|| / ||h_j||
// with A the causal softmax over the whole prompt, W_O^g the part of the output projection that query head g
// has, and h_j the layer's input after its norm. All in f32 and in logs, so that nothing underflows.
#pragma once

#include <vector>

#include "cache/kv_cache.h"
#include "models/model.h"
#include "train/passages.h"

namespace kvlab {

// W_O^g W_O^g^T of every query head of a layer: [query_heads][head_dim][head_dim].
// ||W_O^g v||^2 = v^T (W_O^g W_O^g^T) v, which is less work than W_O^g v.
std::vector<float> output_grams(const Model& model, int layer);

// y[head * length + i] for the KV heads of a layer; -infinity where no query of the second copy sees token i
// (a layer's own window). `layer` holds all rows of the prompt, with hidden states. By all threads; the
// result does not depend on their number.
std::vector<float> kvzip_targets(const LayerBlock& layer, const RepeatPrompt& prompt, const ModelShape& shape,
                                 const std::vector<float>& grams);

}  // namespace kvlab
