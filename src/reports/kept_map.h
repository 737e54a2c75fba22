// Which entries of a document's first tokens are live: what the pictures show and their statistics count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kvlab {

struct KeptMap {
  std::vector<std::string> title;  // more lines for the title: model, document, …
  std::string name;                // the row's display name
  std::string recipe;
  int64_t tokens = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  std::vector<uint8_t> kept;             // [layers][heads][tokens], 1: live
  std::vector<uint8_t> protected_token;  // [tokens], 1: the row's own sinks and window
  int64_t sinks = 0;
  int64_t window = 0;

  bool is_kept(int64_t layer, int64_t head, int64_t token) const {
    return kept[static_cast<size_t>((layer * heads + head) * tokens + token)] != 0;
  }
  bool is_protected(int64_t token) const { return protected_token[static_cast<size_t>(token)] != 0; }
};

// Throws InternalError when the vectors do not have the sizes that the counts promise.
void check_kept_map(const KeptMap& map);

// Layer-head entries, divided by layers × heads where all pairs keep the same tokens (then one may speak of
// tokens).
struct KeptCounts {
  int64_t tokens = 0;
  int64_t kept = 0;
  int64_t all = 0;
  int64_t protected_tokens = 0;
  int64_t compressible_kept = 0;
  int64_t compressible_all = 0;
  bool all_agree = true;     // every layer-head pair keeps the same tokens
  int64_t disagreeing = 0;   // layer-token pairs whose heads do not all do the same
  int64_t layer_tokens = 0;  // layer-token pairs
};

KeptCounts count_kept(const KeptMap& map);

// "Overall density: 12.89% (132/1024 kept)" and its like, one line each.
std::vector<std::string> kept_statistics(const KeptMap& map);

// Per layer and token, how many heads keep it: [layers][tokens].
std::vector<int64_t> heads_keeping(const KeptMap& map);

}  // namespace kvlab
