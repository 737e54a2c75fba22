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

// The entries of one KV head by slot: `old_count` that were live before the block, in any order, then the
// block's own at first_new, first_new + 1, ...
struct HeadEntries {
  std::span<const int32_t> positions;
  std::span<const float> scores;
  int64_t old_count = 0;
  int64_t first_new = 0;
};

// Working memory of plan_lifetimes.
struct LifetimeScratch {
  struct Candidate {
    float score;
    int32_t position;
    int32_t slot;
  };
  std::vector<Candidate> open, leaving, expiring;
};

// Whether anything can go while `rows` tokens are appended to old_count entries.
bool may_evict(const Policy& policy, int64_t old_count, int64_t first_new, int64_t rows);

// Plans which entries the policy evicts while the block's tokens are appended one by one: evict_at[slot]
// becomes the query from which on an entry is not seen, kNever for survivors. Entries that leave the policy's
// reach meanwhile are given that query and are no evictions. O(entries + evictions log).
// Ties: the lower position goes first.
EvictionCounts plan_lifetimes(const Policy& policy, const HeadEntries& entries, std::span<int32_t> evict_at,
                              LifetimeScratch& scratch);

// One action of the policy after n tokens on live entries (the weights kernel, the end of a context): which
// slots go. `gone` receives slots in descending order.
EvictionCounts act_once(const Policy& policy, int64_t n, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone);
// The same with a limit of its own, which a threshold does not look at.
EvictionCounts act_once(const Policy& policy, int64_t n, int64_t limit, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone);

}  // namespace kvlab
