// ChunkKV.
// Idea: Neighbouring tokens carry meaning together, so whole chunks of tokens stay or go, the same for
// all KV heads of a layer.
// Paper: Liu et al.: ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM
// Inference, arXiv:2502.00299.
// Symbols: s_hj is the scorer's score of entry j in KV head h of H; a chunk is `chunk` live entries that
// follow each other.
// Differs: as in kvpress a chunk's score is the mean over its tokens of the sum over heads, the last,
// shorter chunk by its own mean, and max(1, floor(chunks * fraction)) chunks stay, so a little less than
// the budget is kept. A chunk with a protected entry stays first of all. The paper's reuse of a layer's
// choice by the next layers is not done.
// Bytes per token: none beyond the scorer's.
// In kvpress: ChunkKVPress (chunk_length=20).
// Examples: chunkkv(keep=0.25) chunkkv(of=snapkv,keep=0.5,at=context) chunkkv(of=knorm,chunk=10,size=256)
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cache/wrapper.h"

namespace kvlab {

namespace {

class ChunkKv : public Wrapper {
 public:
  explicit ChunkKv(int64_t chunk) : chunk_(static_cast<size_t>(chunk)) {}
  bool joint() const override { return true; }

  void adjust(ActingHeads& unit) const override {
    if (!same_entries(unit)) return adjust_each(unit);
    adjust_group(unit.heads);
  }

 private:
  // Heads that started with other entries (a context's) have chunks of their own.
  static bool same_entries(const ActingHeads& unit) {
    return std::all_of(unit.heads.begin(), unit.heads.end(), [&](const ActingHead& head) {
      return std::equal(head.positions.begin(), head.positions.end(), unit.heads[0].positions.begin(),
                        unit.heads[0].positions.end());
    });
  }

  void adjust_each(ActingHeads& unit) const {
    for (size_t h = 0; h < unit.heads.size(); ++h) adjust_group(unit.heads.subspan(h, 1));
  }

  // Each entry gets its chunk's score, and the limit is cut to whole chunks.
  void adjust_group(std::span<ActingHead> heads) const {
    const size_t live = heads[0].positions.size(), chunks = (live + chunk_ - 1) / chunk_;
    if (live == 0) return;
    std::vector<float> scores;
    for (size_t c = 0; c < chunks; ++c) scores.push_back(chunk_score(heads, c));
    std::vector<size_t> order(chunks);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    const double fraction = heads[0].exact_limit / static_cast<double>(live);
    const auto kept =
        std::max<size_t>(1, static_cast<size_t>(std::floor(static_cast<double>(chunks) * fraction + 1e-6)));
    std::vector<float> ranks(chunks);
    int64_t limit = 0;
    for (size_t r = 0; r < chunks; ++r) {
      ranks[order[r]] = static_cast<float>(chunks - r);
      if (r < kept)
        limit += static_cast<int64_t>(std::min(live, (order[r] + 1) * chunk_) - order[r] * chunk_);
    }
    for (ActingHead& head : heads) {
      for (size_t i = 0; i < live; ++i) head.scores[i] = ranks[i / chunk_];
      head.limit = limit;
    }
  }

  float chunk_score(std::span<const ActingHead> heads, size_t c) const {
    const size_t first = c * chunk_, end = std::min(heads[0].positions.size(), first + chunk_);
    double sum = 0;
    for (const ActingHead& head : heads) {
      for (size_t i = first; i < end; ++i)
        sum += head.is_protected(i) ? std::numeric_limits<double>::infinity() : head.scores[i];
    }
    return static_cast<float>(sum / static_cast<double>(end - first));
  }

  size_t chunk_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "chunkkv";
  info.title = "ChunkKV";
  info.paper =
      "Liu et al.: ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM "
      "Inference, arXiv:2502.00299";
  info.summary = "whole chunks of neighbouring tokens stay or go, the same in all heads of a layer";
  info.formula = "score of a chunk = mean over its tokens j of sum_h s_hj";
  info.fields = {int_field("chunk", int64_t{20}, 1, 1 << 20, "live entries that stay or go together")};
  info.no_threshold = "chunks are ranked, not measured";
  info.uneven = false;
  info.counts = false;
  info.rounds = true;
  info.create = [](const Values& values) { return std::make_unique<ChunkKv>(values.integer("chunk")); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_chunkkv;
const WrapperInfo kWrapperInfo_chunkkv = describe();

}  // namespace kvlab
