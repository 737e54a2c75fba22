// Two phases written from their definition: one layer, token after token, a list of live positions per head,
// softmax in double. Only the scorers themselves are shared with the code under test; what they are shown is
// not.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/naive_policy.h"

namespace kvlab::testing {

// One layer's queries, keys and values, as the model would hand them to the cache.
struct LayerData {
  LayerData(const ModelShape& shape, int64_t tokens, uint64_t seed);
  ModelShape shape;
  int64_t tokens;
  std::vector<float> q, k, v;  // [tokens][query heads][head_dim], [tokens][KV heads][head_dim]
};

struct LayerOutcome {
  std::vector<std::vector<int32_t>> evict_at;  // by KV head and position
  std::vector<float> out;                      // [tokens][query heads][head_dim]
  EvictionCounts counts;
};

// One method of the two: made as if it stood alone, its policy once more in plain numbers.
struct NaivePhase {
  const Method* method = nullptr;  // null: nothing goes in this phase
  NaivePolicy policy;
};

LayerOutcome naive_two_phase(const LayerData& data, const NaivePhase& context, const NaivePhase& decode,
                             int64_t context_tokens);

// The same by KvCache, in blocks of the given sizes; the context ends after `context_tokens`, where a block
// has to end.
LayerOutcome run_cache(const LayerData& data, std::shared_ptr<const Method> method,
                       const std::vector<int>& blocks, int64_t context_tokens);

}  // namespace kvlab::testing
