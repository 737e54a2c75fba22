// From scores to lifetimes: query i sees entry j iff j <= i < evict_at[j].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/policy.h"

namespace kvlab {

struct EvictionCounts {
  int64_t evictions = 0;
  int64_t forced = 0;  // evictions at which every unprotected entry had to go
  EvictionCounts& operator+=(const EvictionCounts& other) {
    evictions += other.evictions;
    forced += other.forced;
    return *this;
  }
};

// The entries of one KV head: those live before the block (any order), then the block's own at first_new,
// first_new + 1, ...
struct HeadEntries {
  std::span<const int32_t> old_positions;
  std::span<const float> old_scores;
  int64_t first_new = 0;
  std::span<const float> new_scores;
};

// Plans which entries the policy evicts while the block's tokens are appended one by one. Fills evict_old and
// evict_new with the query from which on an entry is not seen, kNever for survivors. O((old + new) log).
// Ties: the lower position goes first.
EvictionCounts plan_lifetimes(const Policy& policy, const HeadEntries& entries, std::span<int32_t> evict_old,
                              std::span<int32_t> evict_new);

// One action of the policy after n tokens on live entries (the weights kernel, the end of a context): which
// slots go. `gone` receives slots in descending order.
EvictionCounts act_once(const Policy& policy, int64_t n, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone);

}  // namespace kvlab
