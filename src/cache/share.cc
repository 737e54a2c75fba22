#include "cache/share.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvlab {

namespace {

struct Candidate {
  float score;
  int32_t position;
  int32_t head;
  int32_t entry;  // in its head
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.position != b.position ? a.position > b.position : a.head > b.head;
}

// The candidates of a head, best first as far as `safe` goes; protected ones score +infinity.
std::vector<Candidate> candidates_of(const ActingHead& head, int32_t index, size_t safe) {
  std::vector<Candidate> all;
  all.reserve(head.positions.size());
  for (size_t i = 0; i < head.positions.size(); ++i) {
    const float score = head.is_protected(i) ? std::numeric_limits<float>::infinity() : head.scores[i];
    all.push_back({score, head.positions[i], index, static_cast<int32_t>(i)});
  }
  if (safe < all.size())
    std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(safe), all.end(), better);
  return all;
}

}  // namespace

void share_by_score(ActingHeads& unit, double safeguard) {
  int64_t left = 0;
  std::vector<Candidate> open;
  for (size_t h = 0; h < unit.heads.size(); ++h) {
    ActingHead& head = unit.heads[h];
    const auto live = static_cast<int64_t>(head.positions.size());
    left += head.limit;
    const auto safe = std::min<int64_t>(
        live, static_cast<int64_t>(std::floor(static_cast<double>(head.limit) * safeguard + 1e-6)));
    const std::vector<Candidate> all =
        candidates_of(head, static_cast<int32_t>(h), static_cast<size_t>(safe));
    // Whatever stands around this must not make them go.
    for (int64_t i = 0; i < safe; ++i)
      head.scores[static_cast<size_t>(all[i].entry)] = std::numeric_limits<float>::infinity();
    head.limit = safe;
    left -= safe;
    open.insert(open.end(), all.begin() + safe, all.end());
  }
  const auto count = std::clamp<int64_t>(left, 0, static_cast<int64_t>(open.size()));
  std::nth_element(open.begin(), open.begin() + count, open.end(), better);
  for (int64_t i = 0; i < count; ++i) ++unit.heads[open[i].head].limit;
}

}  // namespace kvlab
