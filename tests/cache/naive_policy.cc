#include "cache/naive_policy.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/attention.h"

namespace kvlab::testing {

namespace {

const char* budget_name(NaivePolicy::Budget budget) {
  switch (budget) {
    case NaivePolicy::Budget::kThreshold:
      return "threshold";
    case NaivePolicy::Budget::kKeep:
      return "keep";
    case NaivePolicy::Budget::kSize:
      return "size";
    case NaivePolicy::Budget::kFreeDensity:
      return "free_density";
  }
  return "";
}

}  // namespace

Policy NaivePolicy::policy() const {
  Policy policy;
  for (const BudgetInfo* info : registry_budgets()) {
    if (info->name == budget_name(budget)) policy.budget = info;
  }
  if (!policy.budget) throw std::logic_error(std::string("no budget ") + budget_name(budget));
  policy.value = value;
  policy.sinks = sinks;
  if (window >= 0) policy.window = window;
  policy.rule = rule;
  policy.every = every;
  return policy;
}

int64_t NaivePolicy::window_at(int64_t n) const {
  if (window >= 0) return window;
  if (rule == WindowRule::kOne) return 1;
  if (rule == WindowRule::kNone) return 0;
  const bool half_rule = rule == WindowRule::kHalf;
  if (budget == Budget::kThreshold || budget == Budget::kFreeDensity) return half_rule ? 512 : 128;
  const int64_t half = limit_at(n) / 2;
  return half_rule ? half : std::min<int64_t>(128, half);
}

int64_t NaivePolicy::limit_at(int64_t n) const {
  switch (budget) {
    case Budget::kThreshold:
      throw std::logic_error("a threshold has no limit");
    case Budget::kKeep:
      return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(n) * value + 1e-6)));
    case Budget::kSize:
      return static_cast<int64_t>(value);
    case Budget::kFreeDensity:
      break;
  }
  int64_t safe = 0;
  for (int64_t position = 0; position < n; ++position) safe += is_protected(position, n);
  return safe + static_cast<int64_t>(std::floor(static_cast<double>(n - safe) * value + 1e-6));
}

std::vector<int32_t> naive_action(const NaivePolicy& policy, int64_t n, std::vector<int32_t> live,
                                  const std::vector<float>& score, EvictionCounts& counts) {
  std::vector<int32_t> gone;
  if (policy.budget == NaivePolicy::Budget::kThreshold) {
    for (const int32_t p : live) {
      if (!policy.is_protected(p, n) && score[p] < policy.value) gone.push_back(p);
    }
    counts.evictions += static_cast<int64_t>(gone.size());
    std::sort(gone.begin(), gone.end());
    return gone;
  }
  std::sort(live.begin(), live.end());  // so that of equal scores the lower position is met first
  bool choice_left = true;
  while (static_cast<int64_t>(live.size()) > policy.limit_at(n)) {
    auto least = live.end();
    for (auto p = live.begin(); p != live.end(); ++p) {
      if (policy.is_protected(*p, n)) continue;
      if (least == live.end() || score[*p] < score[*least]) least = p;
    }
    if (least == live.end()) break;  // the protected ones alone exceed the limit
    gone.push_back(*least);
    live.erase(least);
    choice_left =
        std::any_of(live.begin(), live.end(), [&](int32_t p) { return !policy.is_protected(p, n); });
  }
  counts.evictions += static_cast<int64_t>(gone.size());
  if (!choice_left) counts.forced += static_cast<int64_t>(gone.size());
  std::sort(gone.begin(), gone.end());
  return gone;
}

NaiveLife naive_lifetimes(const NaivePolicy& policy, const std::vector<float>& scores) {
  NaiveLife life;
  life.evict_at.assign(scores.size(), kNever);
  std::vector<int32_t> live;
  for (size_t i = 0; i < scores.size(); ++i) {
    live.push_back(static_cast<int32_t>(i));
    const auto n = static_cast<int64_t>(i) + 1;
    if (n % policy.every != 0) continue;
    for (const int32_t p : naive_action(policy, n, live, scores, life.counts)) {
      life.evict_at[p] = static_cast<int32_t>(n);
      std::erase(live, p);
    }
  }
  return life;
}

}  // namespace kvlab::testing
