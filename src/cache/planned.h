// Evictions decided before a session runs: planned with knowledge of the whole document, or read from a file.
// Such a method plans evict_at (cache/lifetimes.h) per layer and KV head; the session then only obeys.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cache/policy.h"
#include "cache/scorer.h"

namespace kvlab {

// One KV head over a whole document of n tokens. With hindsight, q, k and v are those of a first pass without
// compression, as the attention reads them (rotated, in the cache's type); else they are null.
struct PlanView {
  int layer = 0;
  int head = 0;
  uint64_t document = 0;  // global index in the data
  int64_t n = 0;
  std::optional<int64_t> context;  // tokens before the end of the context, where the run has one
  int group = 0;
  int head_dim = 0;
  const float* q = nullptr;  // [n][group][head_dim], rows q_stride floats apart
  int64_t q_stride = 0;
  const float* k = nullptr;  // [n][head_dim]
  const float* v = nullptr;  // [n][head_dim]
  int64_t window = 0;        // a query sees the newest so many tokens; 0: all
};

class PlannedScorer : public Scorer {
 public:
  // True: plan() reads the first pass's queries, keys and values.
  virtual bool hindsight() const { return false; }
  // Fills evict_at[t] for t < view.n: the first query that does not see entry t, kNever if there is none.
  // May be called from several threads for different heads. Throws UserError where there is no plan for this
  // document.
  virtual void plan(const PlanView& view, const Policy& policy, std::span<int32_t> evict_at) const = 0;
};

}  // namespace kvlab
