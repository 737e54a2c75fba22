// The step-by-step form of a budget, written from its definition and nothing else: after every token a list
// of live entries, and what goes is searched by going through it. The reference of plan_lifetimes and
// act_once.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/lifetimes.h"

namespace kvlab::testing {

// A policy in plain numbers, so that the reference does not lean on Policy's own arithmetic.
struct NaivePolicy {
  enum class Budget { kThreshold, kKeep, kSize, kFreeDensity };
  Budget budget = Budget::kKeep;
  double value = 0;
  int64_t sinks = 0;
  int64_t window = -1;  // -1: by rule
  WindowRule rule = WindowRule::kUsual;
  int64_t every = 1;

  Policy policy() const;  // the same for the code under test
  int64_t window_at(int64_t n) const;
  // Entries that may stay after n tokens. Not for a threshold.
  int64_t limit_at(int64_t n) const;
  bool is_protected(int64_t position, int64_t n) const {
    return position < sinks || position >= n - window_at(n);
  }
};

struct NaiveLife {
  std::vector<int32_t> evict_at;  // by position
  EvictionCounts counts;
};

// Appends one token after the other, and acts after each n that is a multiple of `every`.
NaiveLife naive_lifetimes(const NaivePolicy& policy, const std::vector<float>& scores);

// One action after n tokens on live entries given as positions; says which positions go, ascending.
std::vector<int32_t> naive_action(const NaivePolicy& policy, int64_t n, std::vector<int32_t> live,
                                  const std::vector<float>& score_by_position, EvictionCounts& counts);

}  // namespace kvlab::testing
