// SnapKV.
// Idea: The last queries vote; an entry is worth the attention it gets from them, smoothed over its
// neighbours.
// Paper: Li et al.: SnapKV: LLM Knows What You are Looking for Before Generation, arXiv:2404.14469.
// Symbols: a_qj is the attention weight of query q, one of the last `queries`, on entry j; the pool is the
// mean (or maximum) over the neighbours, the `kernel` live entries around j; the group are the query heads
// that share this KV head.
// Differs: the paper compresses once at the end of the prompt (at=context here); while streaming, the vote
// is repeated at each action, with the last `queries` true queries over the live entries. Average pooling,
// as in kvpress, where zeros beyond the ends count; the released LongBench runs are
// queries=32,kernel=7,pooling=max, with one KV head per query head: here the mean over the group is
// pooled. Neighbours are live entries in order of position. The entries of the voting queries themselves
// are kept while any other can go.
// Bytes per token: none; `queries` queries per layer and query head are carried (in float).
// In kvpress: SnapKVPress (window_size=64, kernel_size=5), which acts once, at the end of the prompt.
// Examples: snapkv(keep=0.25) snapkv(keep=0.5,at=context) snapkv(size=512,queries=32,kernel=7,pooling=max)
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "kernels/attention.h"
#include "kernels/query_votes.h"

namespace kvlab {

namespace {

class SnapKv : public PeriodicScorer {
 public:
  explicit SnapKv(const ScorerContext& context)
      : head_dim_(context.shape.head_dim),
        group_(context.shape.group()),
        queries_(static_cast<int>(context.values.integer("queries"))),
        kernel_(static_cast<int>(context.values.integer("kernel"))),
        maximum_(context.values.text("pooling") == "max") {}

  int recent_queries() const override { return queries_; }

  void score(const PeriodicView& view, float* out) const override {
    static thread_local Workspace work;
    const int rows = view.queries->recent_rows();
    const int64_t first_query = view.n - rows;
    const auto live = static_cast<int64_t>(view.positions.size());
    // Entries before the voting queries; positions ascend.
    const auto voted = static_cast<int64_t>(
        std::lower_bound(view.positions.begin(), view.positions.end(), first_query) - view.positions.begin());
    work.recent.resize(static_cast<size_t>(rows) * group_ * head_dim_);
    view.queries->copy_recent(work.recent.data());
    find_visible(view.positions, voted, first_query, work.visible, rows);
    work.votes.resize(voted);
    query_votes({work.recent.data(), work.visible.data(), rows * group_}, view.k, live, head_dim_,
                attention_scale(head_dim_), voted, work.scratch, work.votes.data());
    const double scale = 1.0 / (static_cast<double>(rows) * group_);
    for (int64_t i = 0; i < voted; ++i) out[i] = static_cast<float>(pooled(work.votes, i) * scale);
    std::fill(out + voted, out + live, std::numeric_limits<float>::infinity());
  }

 private:
  // Kept from one action to the next by each thread.
  struct Workspace {
    std::vector<float> recent;     // [rows][group][head_dim]
    std::vector<int32_t> visible;  // [rows][group]
    std::vector<double> votes;     // [voted]
    Buffer<float> scratch;
  };

  // How many live entries each of the last queries sees: those up to its own position.
  void find_visible(std::span<const int32_t> positions, int64_t voted, int64_t first_query,
                    std::vector<int32_t>& visible, int rows) const {
    visible.clear();
    auto seen = static_cast<size_t>(voted);
    for (int r = 0; r < rows; ++r) {
      while (seen < positions.size() && positions[seen] <= first_query + r) ++seen;
      visible.insert(visible.end(), group_, static_cast<int32_t>(seen));
    }
  }

  // Over the neighbours of i: the mean, for which votes beyond the ends count as zeros, or the maximum.
  double pooled(const std::vector<double>& votes, int64_t i) const {
    const int64_t reach = kernel_ / 2, last = static_cast<int64_t>(votes.size()) - 1;
    const auto first = votes.begin() + std::max<int64_t>(0, i - reach),
               end = votes.begin() + std::min(last, i + reach) + 1;
    if (maximum_) return *std::max_element(first, end);
    return std::accumulate(first, end, 0.0) / kernel_;
  }

  int head_dim_, group_, queries_, kernel_;
  bool maximum_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "snapkv";
  info.title = "SnapKV";
  info.paper = "Li et al.: SnapKV: LLM Knows What You are Looking for Before Generation, arXiv:2404.14469";
  info.summary = "keeps what the last queries attend to, with its neighbours";
  info.formula =
      "score_j = pool over neighbours of j of the mean over the last queries and the group of a_qj";
  info.kind = ScorerKind::kPeriodic;
  info.fields = {
      int_field("queries", int64_t{64}, 1, 4096, "last queries that vote (the observation window)"),
      int_field("kernel", int64_t{5}, 1, 255, "neighbours pooled over, an odd number"),
      name_field("pooling", std::string("avg"), {"avg", "max"}, "how neighbours are pooled")};
  info.no_threshold = "the scale of the last queries' weights moves with the length";
  info.attention = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<SnapKv>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_snapkv;
const ScorerInfo kScorerInfo_snapkv = describe();

}  // namespace kvlab
