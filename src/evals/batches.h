// Batches: neighbouring documents that a comparison runs together, bounded by what they take in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/method.h"
#include "evals/token_documents.h"
#include "models/config.h"
#include "tensor/dtype.h"

namespace kvlab {

inline constexpr int64_t kDefaultMemory = int64_t{2} << 30;  // bytes

// What the methods of a comparison need at most. One of them runs at a time.
struct MemoryNeeds {
  DType kv_type = DType::kF32;  // the widest that keys and values are stored in
  int64_t query_bytes = 0;      // of past queries that a session remembers, however short it is
  bool hindsight = false;       // a first pass collects queries, keys and values
};
MemoryNeeds memory_needs(std::span<const std::shared_ptr<const Method>> methods, DType kv_type);

// Bytes that documents run together take beside the weights, from above; the longest has `longest` tokens.
// Per token: hidden states (of the baseline, of the row in work and of the extend in work) and positions of
// live entries, f32 and int32, and keys and values as if nothing were evicted. Per session: remembered
// queries. Of the tokens in work, at most Session::kMaxBlock: the activations of a layer. Methods with
// hindsight collect a layer of the longest document, or all layers where it takes several blocks.
int64_t estimate_memory(const ModelConfig& config, const MemoryNeeds& needs, int64_t documents,
                        int64_t tokens, int64_t longest);

using Batch = std::vector<const TokenDocument*>;

// Documents in order, as many together as have at most Session::kMaxBlock tokens and fit in `memory` bytes. A
// document that is too long or too large for that is a batch of its own.
std::vector<Batch> cut_batches(const std::vector<TokenDocument>& documents, const ModelConfig& config,
                               const MemoryNeeds& needs, int64_t memory);

// Throws UserError for the first document that alone takes more than `memory` bytes, naming it, what it
// takes, and the --max_length (where that leaves anything to score after `context` tokens) or --memory that
// would do.
void check_memory(const std::vector<TokenDocument>& documents, const ModelConfig& config,
                  const MemoryNeeds& needs, int64_t memory, int64_t context);

}  // namespace kvlab
