#include "cache/lifetimes.h"

#include <algorithm>

#include "kernels/attention.h"
#include "kernels/entry_scores.h"

namespace kvlab {

namespace {

using Candidate = LifetimeScratch::Candidate;

bool goes_before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score < b.score : a.position < b.position;
}
// For heaps: the one that goes first is on top.
bool goes_later(const Candidate& a, const Candidate& b) {
  return goes_before(b, a);
}

// The actions of a policy within a block: after first, first + every, ... last tokens.
struct Actions {
  int64_t first, last, every;
  bool none() const { return first > last; }
};

Actions actions_in(const Policy& policy, int64_t first_new, int64_t rows) {
  const int64_t every = policy.every;
  return {first_new / every * every + every, (first_new + rows) / every * every, every};
}

int64_t window_start(const Policy& policy, int64_t n) {
  return n - policy.window_at(n);
}

// Splits unprotected entries into those outside the window at the first action, and those that leave it until
// the last one, in order of position.
void collect(const Policy& policy, const HeadEntries& entries, const Actions& actions,
             LifetimeScratch& scratch) {
  scratch.open.clear();
  scratch.leaving.clear();
  const int64_t open_before = window_start(policy, actions.first);
  const int64_t leave_before = window_start(policy, actions.last);
  const auto size = static_cast<int32_t>(entries.positions.size());
  for (int32_t slot = 0; slot < size; ++slot) {
    const int32_t position = entries.positions[slot];
    if (position < policy.sinks || position >= leave_before) continue;
    (position < open_before ? scratch.open : scratch.leaving)
        .push_back({entries.scores[slot], position, slot});
  }
  std::sort(scratch.leaving.begin(), scratch.leaving.end(),
            [](const Candidate& a, const Candidate& b) { return a.position < b.position; });
}

EvictionCounts plan_threshold(const Policy& policy, const Actions& actions, std::span<int32_t> evict_at,
                              const LifetimeScratch& scratch) {
  EvictionCounts counts;
  const auto judge = [&](const Candidate& c, int64_t n) {
    if (!(c.score < policy.value) || policy.expired(c.position, n)) return;
    evict_at[c.slot] = static_cast<int32_t>(n);
    ++counts.evictions;
  };
  for (const Candidate& c : scratch.open) judge(c, actions.first);
  size_t next = 0;
  for (int64_t n = actions.first; n <= actions.last; n += actions.every) {
    const int64_t start = window_start(policy, n);
    for (; next < scratch.leaving.size() && scratch.leaving[next].position < start; ++next)
      judge(scratch.leaving[next], n);
  }
  return counts;
}

// The most entries that the budget takes away until the last action.
int64_t most_evictions(const Policy& policy, int64_t old_count, int64_t first_new, const Actions& actions) {
  int64_t most = 0;
  for (int64_t n = actions.first; n <= actions.last; n += actions.every)
    most = std::max(most, old_count + n - first_new - policy.limit_at(n));
  return most;
}

// Entries that leave the policy's reach until the last action, in order of position.
void collect_expiring(const Policy& policy, const HeadEntries& entries, const Actions& actions,
                      std::vector<Candidate>& expiring) {
  expiring.clear();
  if (policy.reach == Policy::kNoReach) return;
  const auto size = static_cast<int32_t>(entries.positions.size());
  for (int32_t slot = 0; slot < size; ++slot) {
    const int32_t position = entries.positions[slot];
    if (policy.expired(position, actions.last)) expiring.push_back({0, position, slot});
  }
  std::sort(expiring.begin(), expiring.end(),
            [](const Candidate& a, const Candidate& b) { return a.position < b.position; });
}

EvictionCounts plan_limit(const Policy& policy, const HeadEntries& entries, const Actions& actions,
                          std::span<int32_t> evict_at, LifetimeScratch& scratch) {
  EvictionCounts counts;
  std::vector<Candidate>& heap = scratch.open;
  const std::vector<Candidate>& expiring = scratch.expiring;
  collect_expiring(policy, entries, actions, scratch.expiring);
  // Expiring entries may be on top of the heap, so then all of it is needed.
  const int64_t most = expiring.empty()
                           ? most_evictions(policy, entries.old_count, entries.first_new, actions)
                           : static_cast<int64_t>(heap.size());
  // Of the entries outside the window only the `most` first can go: the others need not be sorted.
  int64_t safe = 0;
  if (static_cast<int64_t>(heap.size()) > most) {
    safe = static_cast<int64_t>(heap.size()) - most;
    std::nth_element(heap.begin(), heap.begin() + most, heap.end(), goes_before);
    heap.resize(most);
  }
  std::make_heap(heap.begin(), heap.end(), goes_later);
  int64_t live = entries.old_count, appended = 0;
  size_t next = 0, next_expiring = 0;
  for (int64_t n = actions.first; n <= actions.last; n += actions.every) {
    live += n - entries.first_new - appended;
    appended = n - entries.first_new;
    for (; next_expiring < expiring.size() && policy.expired(expiring[next_expiring].position, n);
         ++next_expiring) {
      int32_t& gone_at = evict_at[expiring[next_expiring].slot];
      if (gone_at != kNever) continue;
      gone_at = static_cast<int32_t>(expiring[next_expiring].position + policy.reach);
      --live;
    }
    const int64_t start = window_start(policy, n), limit = policy.limit_at(n);
    for (; next < scratch.leaving.size() && scratch.leaving[next].position < start; ++next) {
      heap.push_back(scratch.leaving[next]);
      std::push_heap(heap.begin(), heap.end(), goes_later);
    }
    const int64_t before = counts.evictions;
    while (live > limit && !heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), goes_later);
      int32_t& gone_at = evict_at[heap.back().slot];
      heap.pop_back();
      if (gone_at != kNever) continue;  // out of reach already
      gone_at = static_cast<int32_t>(n);
      ++counts.evictions;
      --live;
    }
    if (heap.empty() && safe == 0) counts.forced += counts.evictions - before;
  }
  return counts;
}

}  // namespace

bool may_evict(const Policy& policy, int64_t old_count, int64_t first_new, int64_t rows) {
  if (policy.neutral() || policy.at_context) return false;
  const Actions actions = actions_in(policy, first_new, rows);
  if (actions.none()) return false;
  return policy.threshold() || most_evictions(policy, old_count, first_new, actions) > 0;
}

EvictionCounts plan_lifetimes(const Policy& policy, const HeadEntries& entries, std::span<int32_t> evict_at,
                              LifetimeScratch& scratch) {
  std::fill(evict_at.begin(), evict_at.end(), kNever);
  const int64_t rows = static_cast<int64_t>(entries.positions.size()) - entries.old_count;
  if (!may_evict(policy, entries.old_count, entries.first_new, rows)) return {};
  const Actions actions = actions_in(policy, entries.first_new, rows);
  collect(policy, entries, actions, scratch);
  return policy.threshold() ? plan_threshold(policy, actions, evict_at, scratch)
                            : plan_limit(policy, entries, actions, evict_at, scratch);
}

EvictionCounts act_once(const Policy& policy, int64_t n, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone) {
  gone.clear();
  if (policy.neutral()) return {};
  return act_once(policy, n, policy.threshold() ? 0 : policy.limit_at(n), positions, scores, gone);
}

EvictionCounts act_once(const Policy& policy, int64_t n, int64_t limit, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone) {
  gone.clear();
  EvictionCounts counts;
  const int64_t window_begin = window_start(policy, n);
  const auto size = static_cast<int32_t>(positions.size());
  const auto open = [&](int32_t slot) {
    return positions[slot] >= policy.sinks && positions[slot] < window_begin;
  };
  if (policy.threshold()) {
    for (int32_t slot = size - 1; slot >= 0; --slot) {
      if (open(slot) && scores[slot] < policy.value) gone.push_back(slot);
    }
    counts.evictions = static_cast<int64_t>(gone.size());
    return counts;
  }
  const int64_t over = size - limit;
  if (over <= 0) return counts;
  const auto goes_first = [&](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : positions[a] < positions[b];
  };
  int64_t free = 0;
  if (over == 1) {  // every token's case
    const LeastEntry least = least_open(scores.data(), positions.data(), size, policy.sinks, window_begin);
    free = least.open;
    if (least.slot >= 0) gone.push_back(least.slot);
  } else {
    for (int32_t slot = 0; slot < size; ++slot) {
      if (open(slot)) gone.push_back(slot);
    }
    free = static_cast<int64_t>(gone.size());
    if (free > over) {
      std::nth_element(gone.begin(), gone.begin() + over, gone.end(), goes_first);
      gone.resize(over);
    }
    std::sort(gone.begin(), gone.end(), std::greater<>());
  }
  counts.evictions = static_cast<int64_t>(gone.size());
  if (counts.evictions == free) counts.forced = counts.evictions;
  return counts;
}

}  // namespace kvlab
