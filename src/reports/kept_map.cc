#include "reports/kept_map.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace kvlab {

namespace {

std::string share_text(int64_t part, int64_t whole) {
  if (whole == 0) return "n/a";
  return fmt::format("{:.2f}%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string line(const char* what, int64_t part, int64_t whole, const char* verb) {
  return fmt::format("{}: {} ({}/{} {})", what, share_text(part, whole), part, whole, verb);
}

bool all_pairs_agree(const KeptMap& map) {
  const auto first = map.kept.begin();
  for (int64_t pair = 1; pair < map.layers * map.heads; ++pair) {
    const auto begin = first + pair * map.tokens;
    const bool same =
        std::equal(begin, begin + map.tokens, first, [](uint8_t a, uint8_t b) { return !a == !b; });
    if (!same) return false;
  }
  return true;
}

}  // namespace

void check_kept_map(const KeptMap& map) {
  KVLAB_CHECK(map.tokens > 0 && map.layers > 0 && map.heads > 0);
  KVLAB_CHECK(static_cast<int64_t>(map.kept.size()) == map.tokens * map.layers * map.heads);
  KVLAB_CHECK(static_cast<int64_t>(map.protected_token.size()) == map.tokens);
}

std::vector<int64_t> heads_keeping(const KeptMap& map) {
  std::vector<int64_t> counts(static_cast<size_t>(map.layers * map.tokens), 0);
  for (int64_t layer = 0; layer < map.layers; ++layer) {
    for (int64_t head = 0; head < map.heads; ++head) {
      for (int64_t token = 0; token < map.tokens; ++token) {
        counts[static_cast<size_t>(layer * map.tokens + token)] += map.is_kept(layer, head, token);
      }
    }
  }
  return counts;
}

KeptCounts count_kept(const KeptMap& map) {
  check_kept_map(map);
  KeptCounts counts;
  counts.tokens = map.tokens;
  counts.layer_tokens = map.layers * map.tokens;
  counts.all_agree = all_pairs_agree(map);
  const std::vector<int64_t> keeping = heads_keeping(map);
  for (int64_t i = 0; i < counts.layer_tokens; ++i) {
    const int64_t kept = keeping[static_cast<size_t>(i)];
    const bool compressible = !map.is_protected(i % map.tokens);
    counts.kept += kept;
    counts.all += map.heads;
    counts.compressible_kept += compressible ? kept : 0;
    counts.compressible_all += compressible ? map.heads : 0;
    counts.disagreeing += kept != 0 && kept != map.heads;
  }
  for (int64_t token = 0; token < map.tokens; ++token) counts.protected_tokens += map.is_protected(token);
  const int64_t divisor = counts.all_agree ? map.layers * map.heads : 1;
  for (int64_t* count : {&counts.kept, &counts.all, &counts.compressible_kept, &counts.compressible_all}) {
    *count /= divisor;
  }
  return counts;
}

std::vector<std::string> kept_statistics(const KeptMap& map) {
  const KeptCounts counts = count_kept(map);
  return {fmt::format("Tokens visualised: {}", counts.tokens),
          line("Overall density", counts.kept, counts.all, "kept"),
          line("Protected tokens", counts.protected_tokens, counts.tokens, "protected"),
          line("Compressible region density", counts.compressible_kept, counts.compressible_all, "kept"),
          line("Layer-token pairs whose heads disagree", counts.disagreeing, counts.layer_tokens, "pairs")};
}

}  // namespace kvlab
