// SnapKV.
// Idea: The last queries vote; an entry is worth the attention it gets from them, smoothed over its
// neighbours.
// Paper: Li et al.: SnapKV: LLM Knows What You are Looking for Before Generation, arXiv:2404.14469.
// Symbols: a_qj is the attention weight of query q, one of the last `queries`, on entry j; the neighbours are
// the `kernel` live entries around j; the group are the query heads that share this KV head.
// Differs: the paper compresses once at the end of the prompt (at=context here); while streaming, the vote is
// repeated at each action, with the last `queries` true queries over the live entries. Average pooling, as in
// kvpress (the released LongBench runs take the maximum); neighbours are live entries in order of position,
// zeros beyond the ends count. The entries of the voting queries themselves are kept while any other can go.
// Bytes per token: none; `queries` queries per layer and query head are carried (in float).
// In kvpress: SnapKVPress (window_size=64, kernel_size=5), which acts once, at the end of the prompt.
// Examples: snapkv(keep=0.25) snapkv(keep=0.5,at=context) snapkv(size=512,queries=32,kernel=7)
#include <algorithm>
#include <limits>
#include <vector>

#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "kernels/attention.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

class SnapKv : public PeriodicScorer {
 public:
  explicit SnapKv(const ScorerContext& context)
      : head_dim_(context.shape.head_dim),
        group_(context.shape.group()),
        queries_(static_cast<int>(context.values.integer("queries"))),
        kernel_(static_cast<int>(context.values.integer("kernel"))) {}

  int recent_queries() const override { return queries_; }

  void score(const PeriodicView& view, float* out) const override {
    const int rows = view.queries->recent_rows();
    const int64_t first_query = view.n - rows;
    const auto live = static_cast<int64_t>(view.positions.size());
    // Entries before the voting queries; positions ascend.
    const auto voted = static_cast<int64_t>(
        std::lower_bound(view.positions.begin(), view.positions.end(), first_query) - view.positions.begin());
    std::vector<float> recent(static_cast<size_t>(rows) * group_ * head_dim_), weights(live);
    view.queries->copy_recent(recent.data());
    std::vector<double> votes(voted), pooled(voted);
    for (int g = 0; g < group_; ++g) {
      std::fill(votes.begin(), votes.end(), 0.0);
      for (int r = 0; r < rows; ++r) {
        query_weights(recent.data() + (static_cast<int64_t>(r) * group_ + g) * head_dim_, view,
                      first_query + r, weights.data());
        for (int64_t i = 0; i < voted; ++i) votes[i] += weights[i];
      }
      add_pooled(votes, pooled);
    }
    const double scale = 1.0 / (static_cast<double>(rows) * group_ * kernel_);
    for (int64_t i = 0; i < voted; ++i) out[i] = static_cast<float>(pooled[i] * scale);
    std::fill(out + voted, out + live, std::numeric_limits<float>::infinity());
  }

 private:
  // Causal softmax of the query at `position` over the live entries.
  void query_weights(const float* q, const PeriodicView& view, int64_t position, float* weights) const {
    const auto live = static_cast<int64_t>(view.positions.size());
    dots(q, view.k, live, head_dim_, weights);
    const float scale = attention_scale(head_dim_);
    for (int64_t i = 0; i < live; ++i)
      weights[i] = view.positions[i] <= position ? weights[i] * scale : -1e30f;
    masked_softmax(weights, live);
  }

  void add_pooled(const std::vector<double>& votes, std::vector<double>& pooled) const {
    const auto n = static_cast<int64_t>(votes.size());
    const int64_t reach = kernel_ / 2;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = std::max<int64_t>(0, i - reach); j <= std::min(n - 1, i + reach); ++j)
        pooled[i] += votes[j];
    }
  }

  int head_dim_, group_, queries_, kernel_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "snapkv";
  info.title = "SnapKV";
  info.paper = "Li et al.: SnapKV: LLM Knows What You are Looking for Before Generation, arXiv:2404.14469";
  info.summary = "keeps what the last queries attend to, with its neighbours";
  info.formula = "score_j = mean over neighbours of j, the last queries and the group of a_qj";
  info.kind = ScorerKind::kPeriodic;
  info.fields = {
      int_field("queries", int64_t{64}, 1, 4096, "last queries that vote (the observation window)"),
      int_field("kernel", int64_t{5}, 1, 255, "neighbours pooled over, an odd number")};
  info.no_threshold = "the scale of the last queries' weights moves with the length";
  info.create = [](const ScorerContext& context) { return std::make_unique<SnapKv>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_snapkv;
const ScorerInfo kScorerInfo_snapkv = describe();

}  // namespace kvlab
