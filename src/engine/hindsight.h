// Plans for methods that decide before a session runs (cache/planned.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "cache/kv_cache.h"
#include "models/model.h"

namespace kvlab {

// The evictions that a planned method wants for these tokens; hand them to a session as
// CacheOptions::imposed. A method with hindsight costs a first pass without compression and, per layer and
// head, the attention of all its queries. `options` gives the cache's type and the document. Throws
// UserError: no plan for this document, a document too long for hindsight.
std::shared_ptr<const LifetimeRecord> plan_lifetimes_ahead(const std::shared_ptr<const Model>& model,
                                                           const std::shared_ptr<const Method>& method,
                                                           std::span<const int32_t> tokens,
                                                           std::optional<int64_t> context,
                                                           const CacheOptions& options);

}  // namespace kvlab
