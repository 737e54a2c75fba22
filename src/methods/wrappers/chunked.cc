// Chunked.
// Idea: Each chunk of the text keeps its own best entries, so that none is emptied for the sake of
// another and the kept entries lie evenly over the text.
// Paper: none of its own; NVIDIA/kvpress (ChunkPress), after Corallo, Papotti: FINCH: Prompt-guided
// Key-Value Cache Compression for Large Language Models, TACL 2024.
// Symbols: a chunk is `chunk` tokens that follow each other from position 0 on, m the number of its
// tokens seen so far, n that of all tokens, k what the budget gives the head.
// Differs: as in kvpress periodic and context scorers are shown each chunk alone (keydiff's mean key is
// the chunk's), but the queries of those that vote are the true last ones with their true positions,
// which kvpress gets wrong in all but the last chunk. Protected entries count in their chunk's share, and
// stay beyond it. While streaming a chunk's share grows with its tokens; with a fixed size it shrinks
// again.
// Bytes per token: none beyond the scorer's.
// In kvpress: ChunkPress (chunk_length=1024), at the end of the prompt.
// Examples: chunked(of=knorm,keep=0.25,at=context) chunked(of=snapkv,keep=0.5,chunk=512)
// chunked(of=h2o,size=256)
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cache/wrapper.h"

namespace kvlab {

namespace {

class Chunked : public Wrapper {
 public:
  explicit Chunked(int64_t chunk) : chunk_(chunk) {}
  int64_t scored_apart() const override { return chunk_; }

  void adjust(ActingHeads& unit) const override {
    for (ActingHead& head : unit.heads) adjust_head(unit, head);
  }

 private:
  // The best of each chunk get the score +infinity, all others -infinity, and the limit is how many they are.
  void adjust_head(const ActingHeads& unit, ActingHead& head) const {
    const int64_t reach = unit.shape->reach(unit.layer, unit.n), oldest = unit.n - reach;
    const double fraction = head.exact_limit / static_cast<double>(std::max<int64_t>(1, reach));
    head.limit = 0;
    for (size_t begin = 0; begin < head.positions.size();) {
      const int64_t first = head.positions[begin] / chunk_ * chunk_, last = std::min(first + chunk_, unit.n);
      size_t end = begin;
      while (end < head.positions.size() && head.positions[end] < last) ++end;
      const auto tokens = static_cast<double>(last - std::max(first, oldest));
      const auto share = std::max<int64_t>(1, static_cast<int64_t>(std::floor(tokens * fraction + 1e-6)));
      head.limit += choose(begin, end, share, head);
      begin = end;
    }
  }

  // Marks what stays of the entries [begin, end), and says how many they are.
  static int64_t choose(size_t begin, size_t end, int64_t share, ActingHead& head) {
    std::vector<size_t> order(end - begin);
    std::iota(order.begin(), order.end(), begin);
    const auto better = [&](size_t a, size_t b) {
      if (head.is_protected(a) != head.is_protected(b)) return head.is_protected(a);
      return head.scores[a] != head.scores[b] ? head.scores[a] > head.scores[b] : a > b;
    };
    std::sort(order.begin(), order.end(), better);
    int64_t kept = 0;
    for (size_t r = 0; r < order.size(); ++r) {
      const bool stays = static_cast<int64_t>(r) < share || head.is_protected(order[r]);
      kept += stays;
      head.scores[order[r]] = (stays ? 1 : -1) * std::numeric_limits<float>::infinity();
    }
    return kept;
  }

  int64_t chunk_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "chunked";
  info.title = "Chunked";
  info.paper = "NVIDIA/kvpress, after Corallo, Papotti: FINCH, TACL 2024";
  info.summary = "each chunk of the text keeps its own best entries";
  info.formula = "of a chunk of m tokens the max(1, floor(m k / n)) best stay";
  info.of = "knorm";
  info.fields = {int_field("chunk", int64_t{1024}, 1, 1 << 30, "tokens that share a part of the budget")};
  info.rounds = true;
  info.no_threshold = "a threshold has no budget that chunks could share";
  info.create = [](const Values& values) { return std::make_unique<Chunked>(values.integer("chunk")); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_chunked;
const WrapperInfo kWrapperInfo_chunked = describe();

}  // namespace kvlab
