#include "cache/lifetimes.h"

#include <algorithm>
#include <numeric>
#include <queue>

#include "base/error.h"
#include "kernels/attention.h"

namespace kvlab {

namespace {

struct Candidate {
  float score;
  int32_t position;
  int32_t index;  // old: index; new: old_count + row
};

// Least score first; of equal scores the lower position.
struct GoesLater {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.score != b.score ? a.score > b.score : a.position > b.position;
  }
};

}  // namespace

EvictionCounts plan_lifetimes(const Policy& policy, const HeadEntries& entries, std::span<int32_t> evict_old,
                              std::span<int32_t> evict_new) {
  std::fill(evict_old.begin(), evict_old.end(), kNever);
  std::fill(evict_new.begin(), evict_new.end(), kNever);
  EvictionCounts counts;
  if (policy.neutral() || policy.at_context) return counts;

  const auto old_count = static_cast<int64_t>(entries.old_positions.size());
  const auto rows = static_cast<int64_t>(entries.new_scores.size());
  std::vector<int32_t> by_position(old_count);
  std::iota(by_position.begin(), by_position.end(), 0);
  std::sort(by_position.begin(), by_position.end(),
            [&](int32_t a, int32_t b) { return entries.old_positions[a] < entries.old_positions[b]; });

  std::priority_queue<Candidate, std::vector<Candidate>, GoesLater> unprotected;
  const auto evict = [&](const Candidate& c, int64_t n) {
    (c.index < old_count ? evict_old[c.index] : evict_new[c.index - old_count]) = static_cast<int32_t>(n);
    ++counts.evictions;
  };
  int64_t next = 0;  // entries in order of position that have not left the window yet start here
  int64_t live = old_count;
  int64_t appended = 0;
  for (int64_t n = entries.first_new / policy.every * policy.every + policy.every;
       n <= entries.first_new + rows; n += policy.every) {
    live += n - entries.first_new - appended;
    appended = n - entries.first_new;
    const int64_t window_start = n - policy.window_at(n);
    for (; next < old_count + appended; ++next) {
      Candidate c;
      if (next < old_count) {
        const int32_t slot = by_position[next];
        c = {entries.old_scores[slot], entries.old_positions[slot], slot};
      } else {
        const int64_t row = next - old_count;
        c = {entries.new_scores[row], static_cast<int32_t>(entries.first_new + row),
             static_cast<int32_t>(next)};
      }
      if (c.position >= window_start) break;
      if (c.position < policy.sinks) continue;
      if (policy.threshold()) {
        if (c.score < policy.value) {
          evict(c, n);
          --live;
        }
      } else {
        unprotected.push(c);
      }
    }
    if (policy.threshold()) continue;
    const int64_t limit = policy.limit_at(n);
    const int64_t before = counts.evictions;
    while (live > limit && !unprotected.empty()) {
      evict(unprotected.top(), n);
      unprotected.pop();
      --live;
    }
    if (unprotected.empty()) counts.forced += counts.evictions - before;
  }
  return counts;
}

EvictionCounts act_once(const Policy& policy, int64_t n, std::span<const int32_t> positions,
                        std::span<const float> scores, std::vector<int32_t>& gone) {
  gone.clear();
  EvictionCounts counts;
  if (policy.neutral()) return counts;
  const int64_t window_start = n - policy.window_at(n);
  const auto size = static_cast<int32_t>(positions.size());
  const auto open = [&](int32_t slot) {
    return positions[slot] >= policy.sinks && positions[slot] < window_start;
  };
  if (policy.threshold()) {
    for (int32_t slot = size - 1; slot >= 0; --slot) {
      if (open(slot) && scores[slot] < policy.value) gone.push_back(slot);
    }
    counts.evictions = static_cast<int64_t>(gone.size());
    return counts;
  }
  const int64_t over = size - policy.limit_at(n);
  if (over <= 0) return counts;
  const auto goes_first = [&](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : positions[a] < positions[b];
  };
  int64_t free = 0;
  if (over == 1) {  // every token's case: one pass, no allocation
    int32_t least = -1;
    for (int32_t slot = 0; slot < size; ++slot) {
      if (!open(slot)) continue;
      ++free;
      if (least < 0 || goes_first(slot, least)) least = slot;
    }
    if (least >= 0) gone.push_back(least);
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
