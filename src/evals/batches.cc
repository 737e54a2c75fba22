#include "evals/batches.h"

#include <algorithm>
#include <iterator>

#include "base/byte_size.h"
#include "base/error.h"
#include "engine/session.h"

namespace kvlab {

namespace {

int64_t remembered_queries(const Method& method) {
  const PeriodicScorer* scorer = method.periodic();
  if (!scorer) return 0;
  const ModelShape& shape = method.shape;
  const int64_t d = shape.head_dim;
  const int64_t recent = scorer->recent_queries() * d * static_cast<int64_t>(sizeof(float));
  const int64_t moments = scorer->query_moments() ? (d + d * d) * static_cast<int64_t>(sizeof(double)) : 0;
  return int64_t{1} * shape.layers * shape.query_heads * (recent + moments);
}

int64_t document_memory(const ModelConfig& config, const MemoryNeeds& needs, int64_t tokens) {
  return estimate_memory(config, needs, 1, tokens, tokens);
}

// The most tokens of a document that fit, where `too_long` do not.
int64_t longest_that_fits(const ModelConfig& config, const MemoryNeeds& needs, int64_t memory,
                          int64_t too_long) {
  int64_t fits = 0;
  while (too_long - fits > 1) {
    const int64_t middle = fits + (too_long - fits) / 2;
    (document_memory(config, needs, middle) <= memory ? fits : too_long) = middle;
  }
  return fits;
}

}  // namespace

MemoryNeeds memory_needs(std::span<const std::shared_ptr<const Method>> methods, DType kv_type) {
  MemoryNeeds needs;
  needs.kv_type = kv_type;
  for (const auto& method : methods) {
    const CodecInfo* codec = method->spec.codec;
    if (codec && element_size(codec->type) > element_size(needs.kv_type)) needs.kv_type = codec->type;
    const int64_t of_context = method->context ? remembered_queries(*method->context) : 0;
    needs.query_bytes = std::max(needs.query_bytes, remembered_queries(*method) + of_context);
    needs.hindsight |= method->planned() && method->planned()->hindsight();
  }
  return needs;
}

int64_t estimate_memory(const ModelConfig& config, const MemoryNeeds& needs, int64_t documents,
                        int64_t tokens, int64_t longest) {
  const ModelShape shape = shape_of(config);
  const int64_t hidden = 3 * int64_t{config.hidden} * static_cast<int64_t>(sizeof(float));
  const int64_t live = 2 * int64_t{config.layers} * config.kv_heads * static_cast<int64_t>(sizeof(int32_t));
  const int64_t q = int64_t{config.query_heads} * config.head_dim;
  const int64_t qkv = q + int64_t{2} * config.kv_heads * config.head_dim;
  const int64_t activations = (2 * int64_t{config.hidden} + q + qkv) * static_cast<int64_t>(sizeof(float));
  const int64_t in_work = std::min<int64_t>(tokens, Session::kMaxBlock);
  int64_t collected = 0;
  if (needs.hindsight) {
    collected = longest * qkv * static_cast<int64_t>(sizeof(float));
    if (longest > Session::kMaxBlock) collected *= config.layers;
  }
  return tokens * (hidden + live) + dense_cache_bytes(shape, tokens, needs.kv_type) +
         documents * needs.query_bytes + in_work * activations + collected;
}

std::vector<Batch> cut_batches(const std::vector<TokenDocument>& documents, const ModelConfig& config,
                               const MemoryNeeds& needs, int64_t memory) {
  std::vector<Batch> batches;
  int64_t tokens = 0, longest = 0;  // of the last batch
  for (const TokenDocument& document : documents) {
    const auto own = static_cast<int64_t>(document.tokens.size());
    const auto with_it = [&] {
      return estimate_memory(config, needs, std::ssize(batches.back()) + 1, tokens + own,
                             std::max(longest, own));
    };
    if (batches.empty() || tokens + own > Session::kMaxBlock || with_it() > memory) {
      batches.emplace_back();
      tokens = longest = 0;
    }
    batches.back().push_back(&document);
    tokens += own;
    longest = std::max(longest, own);
  }
  return batches;
}

void check_memory(const std::vector<TokenDocument>& documents, const ModelConfig& config,
                  const MemoryNeeds& needs, int64_t memory, int64_t context) {
  for (const TokenDocument& document : documents) {
    const auto tokens = static_cast<int64_t>(document.tokens.size());
    const int64_t wanted = document_memory(config, needs, tokens);
    if (wanted <= memory) continue;
    const int64_t fits = longest_that_fits(config, needs, memory, tokens);
    const bool worth = fits > std::max<int64_t>(1, context);  // something is left to score
    throw UserError("--memory " + byte_size_text(memory) + " is less than document '" + document.id +
                    "' needs: its " + std::to_string(tokens) + " tokens take about " +
                    byte_size_text(wanted) + "; give " +
                    (worth ? "--max_length " + std::to_string(fits) + ", or " : "") + "--memory " +
                    byte_size_text(wanted));
  }
}

}  // namespace kvlab
