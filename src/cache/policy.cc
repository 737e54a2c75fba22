#include "cache/policy.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

namespace {

// Newest tokens that `policy` protects after n tokens, were `value` its budget's.
int64_t window_under(const Policy& policy, double value, int64_t n) {
  if (policy.window) return *policy.window;
  if (policy.rule == WindowRule::kOne) return 1;
  if (policy.rule == WindowRule::kNone) return 0;
  const int64_t usual = policy.rule == WindowRule::kHalf ? 512 : 128;
  if (!policy.budget || !policy.budget->counts_window) return usual;
  const int64_t half = policy.budget->limit(value, std::min(n, policy.reach), 0) / 2;
  return policy.rule == WindowRule::kHalf ? half : std::min<int64_t>(128, half);
}

}  // namespace

const char* scorer_kind_name(ScorerKind kind) {
  switch (kind) {
    case ScorerKind::kFixed:
      return "fixed";
    case ScorerKind::kWeights:
      return "weights";
    case ScorerKind::kPeriodic:
      return "periodic";
    case ScorerKind::kPlanned:
      return "planned";
  }
  KVLAB_CHECK(false && "unknown kind");
}

bool Policy::neutral() const {
  if (by_plan) return false;
  if (!budget) return true;
  if (!budget->neutral) return false;
  return table ? std::all_of(table->values.begin(), table->values.end(), budget->neutral)
               : budget->neutral(value);
}

Policy Policy::of_head(int layer, int head) const {
  Policy own = *this;
  if (!table) return own;
  own.value = table->value(layer, head);
  own.table = nullptr;
  return own;
}

// A window grows with the limit, so the least limit has the smallest window.
int64_t Policy::window_at(int64_t n) const {
  if (!table) return window_under(*this, value, n);
  return window_under(*this, *std::min_element(table->values.begin(), table->values.end()), n);
}

std::optional<int64_t> Policy::common_window_at(int64_t n) const {
  if (!budget) return std::nullopt;
  const int64_t least = window_at(n);
  if (!table) return least;
  const int64_t most = window_under(*this, *std::max_element(table->values.begin(), table->values.end()), n);
  return least == most ? std::optional(least) : std::nullopt;
}

int64_t Policy::protected_at(int64_t n) const {
  const int64_t begin = std::max<int64_t>(0, n - reach);
  const int64_t window_start = std::max(begin, n - window_at(n));
  return std::max<int64_t>(0, std::min(sinks, window_start) - begin) + (n - window_start);
}

int64_t Policy::limit_at(int64_t n) const {
  KVLAB_CHECK(budget && !budget->threshold && !table);
  return budget->limit(value, std::min(n, reach), protected_at(n));
}

}  // namespace kvlab
