// When entries go, and which are protected: the budget's value, sinks, window and schedule of one method.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>

#include "cache/budget.h"
#include "cache/scorer.h"
#include "cache/wrapper.h"

namespace kvlab {

struct Policy {
  const BudgetInfo* budget = nullptr;  // null: nothing is ever evicted
  double value = 0;
  // Uneven budgets: a value for every layer and KV head, of which `value` is the mean. What acts on one head
  // asks of_head() for its policy.
  std::shared_ptr<const HeadBudgets> table;
  // Shares the limit out over `layers` layers; which one this policy is for, -1: none in particular.
  std::shared_ptr<const Wrapper> spread;
  int layer = -1, layers = 0;
  int64_t queries = 0;  // of the scorer's observation window
  // Payload of a token in all layers and KV heads of the run's cache, for budgets in bytes.
  int64_t token_bytes = 0;
  int64_t sinks = 0;
  std::optional<int64_t> window;  // as written; else by rule
  WindowRule rule = WindowRule::kUsual;
  int64_t every = 1;        // tokens between actions
  bool at_context = false;  // acts once, at the end of the context
  bool by_plan = false;     // what goes is written down beforehand: no budget, no protection
  // Tokens that a layer's own sliding window lets a query see: entries beyond them are gone without any
  // budget, and budgets reckon with those within.
  int64_t reach = kNoReach;
  static constexpr int64_t kNoReach = std::numeric_limits<int64_t>::max();

  bool threshold() const { return budget && budget->threshold; }
  // True when no entry can ever go.
  bool neutral() const;
  // The policy of one KV head, without a table.
  Policy of_head(int layer, int head) const;
  // Whether the budget acts after n tokens of a streaming session.
  bool acts(int64_t n) const { return budget && !at_context && n % every == 0; }
  // Newest tokens protected after n tokens; of a table, those that are protected in every head.
  int64_t window_at(int64_t n) const;
  // The same where all heads protect as many; nothing where they differ, or nothing is protected by rule.
  std::optional<int64_t> common_window_at(int64_t n) const;
  // Tokens protected after n tokens: the first `sinks` and the newest window_at(n), as far as they are in
  // reach.
  int64_t protected_at(int64_t n) const;
  // Entries of a KV head that may stay live after n tokens (budgets other than threshold; no table).
  int64_t limit_at(int64_t n) const;
  // The same before it is cut to whole entries.
  double exact_limit_at(int64_t n) const;
  // Whether the entry at `position` is out of a layer's reach after n tokens.
  bool expired(int64_t position, int64_t n) const { return n - position >= reach; }
  bool is_protected(int64_t position, int64_t n) const {
    return position < sinks || position >= n - window_at(n);
  }

 private:
  // Newest tokens protected, and the limit, were `value` the budget's and `at` the layer.
  int64_t window_under(double value, int at, int64_t n) const;
  int64_t limit_under(double value, int at, int64_t n, int64_t protected_now) const;
  double fraction_of(double value) const;
  std::pair<int64_t, int64_t> window_range(int64_t n) const;
};

}  // namespace kvlab
