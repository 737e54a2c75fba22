#include "cache/policy.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

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

int64_t Policy::window_at(int64_t n) const {
  if (window) return *window;
  if (rule == WindowRule::kOne) return 1;
  if (rule == WindowRule::kNone) return 0;
  const int64_t usual = rule == WindowRule::kHalf ? 512 : 128;
  if (!budget || !budget->counts_window) return usual;
  const int64_t half = budget->limit(value, n, 0) / 2;
  return rule == WindowRule::kHalf ? half : std::min<int64_t>(128, half);
}

int64_t Policy::protected_at(int64_t n) const {
  const int64_t window_start = std::max<int64_t>(0, n - window_at(n));
  return std::min(sinks, window_start) + (n - window_start);
}

int64_t Policy::limit_at(int64_t n) const {
  KVLAB_CHECK(budget && !budget->threshold);
  return budget->limit(value, n, protected_at(n));
}

}  // namespace kvlab
