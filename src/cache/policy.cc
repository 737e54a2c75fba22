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
    case ScorerKind::kContext:
      return "context";
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

Policy Policy::of_head(int of_layer, int head) const {
  Policy own = *this;
  own.layer = of_layer;
  if (!table) return own;
  own.value = table->value(of_layer, head);
  own.table = nullptr;
  return own;
}

// What limit() is asked with.
double Policy::fraction_of(double of_value) const {
  if (!budget->bytes) return of_value;
  return token_bytes > 0 ? std::min(1.0, of_value / static_cast<double>(token_bytes)) : 1.0;
}

int64_t Policy::limit_under(double of_value, int at, int64_t n, int64_t protected_now) const {
  const int64_t held = std::min(n, reach);
  of_value = fraction_of(of_value);
  const int64_t limit = budget->limit(of_value, held, protected_now);
  if (!spread || at < 0) return limit;
  LayerShare share;
  share.uniform = budget->exact ? budget->exact(of_value, held) : static_cast<double>(limit);
  share.n = held;
  share.layer = at;
  share.layers = layers;
  share.queries = queries;
  return std::clamp<int64_t>(spread->layer_limit(share), 1, std::max<int64_t>(1, held));
}

int64_t Policy::window_under(double of_value, int at, int64_t n) const {
  if (window) return *window;
  if (rule == WindowRule::kOne) return 1;
  if (rule == WindowRule::kNone) return 0;
  const int64_t usual = rule == WindowRule::kHalf ? 512 : 128;
  if (!budget || !budget->counts_window) return usual;
  const int64_t half = limit_under(of_value, at, n, 0) / 2;
  return rule == WindowRule::kHalf ? half : std::min<int64_t>(128, half);
}

// A window grows with the limit, so the least limit has the smallest window.
std::pair<int64_t, int64_t> Policy::window_range(int64_t n) const {
  double least = value, most = value;
  if (table) {
    const auto [low, high] = std::minmax_element(table->values.begin(), table->values.end());
    least = *low;
    most = *high;
  }
  if (!spread || layer >= 0) return {window_under(least, layer, n), window_under(most, layer, n)};
  std::pair<int64_t, int64_t> range{window_under(least, 0, n), window_under(most, 0, n)};
  for (int l = 1; l < layers; ++l) {
    range.first = std::min(range.first, window_under(least, l, n));
    range.second = std::max(range.second, window_under(most, l, n));
  }
  return range;
}

int64_t Policy::window_at(int64_t n) const {
  if (!table && (!spread || layer >= 0)) return window_under(value, layer, n);
  return window_range(n).first;
}

std::optional<int64_t> Policy::common_window_at(int64_t n) const {
  if (!budget) return std::nullopt;
  const auto [least, most] = window_range(n);
  return least == most ? std::optional(least) : std::nullopt;
}

int64_t Policy::protected_at(int64_t n) const {
  const int64_t begin = std::max<int64_t>(0, n - reach);
  const int64_t window_start = std::max(begin, n - window_at(n));
  return std::max<int64_t>(0, std::min(sinks, window_start) - begin) + (n - window_start);
}

double Policy::exact_limit_at(int64_t n) const {
  const int64_t limit = limit_at(n);
  if (!budget->exact || spread) return static_cast<double>(limit);
  return budget->exact(fraction_of(value), std::min(n, reach));
}

int64_t Policy::limit_at(int64_t n) const {
  KVLAB_CHECK(budget && !budget->threshold && !table);
  return limit_under(value, layer, n, protected_at(n));
}

}  // namespace kvlab
