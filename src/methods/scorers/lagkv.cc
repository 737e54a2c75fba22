// LagKV.
// Idea: Tokens are compared with those that follow. Live entries outside the sinks are cut into partitions
// of `lag`; the next partition says which range each channel has, and an entry whose channels lie unevenly
// in these ranges is worth more. No query is looked at.
// Paper: Liang, Zhang, Li, Li: LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are
// Important, arXiv:2504.04704.
// Symbols: x_j is the key (or value) of entry j, and min, max are taken channel by channel over the
// partition after j's; std is over the channels, softmax_j and rank_j over j's partition (rank 0: the
// least).
// Differs: the paper compresses each partition once, when the next is complete; here partitions are cut
// anew from what is live, in order of position, at each action. As in kvpress, ranks within the partition
// are compared (cross_scoring=yes compares the softmaxes themselves), and the last full partition and what
// follows it stay while anything else can go; with fewer than two partitions the newest entries stay. So a
// budget below sinks + lag keeps the newest entries only: take a smaller lag then. A channel that is
// constant in the next partition counts as 0 (kvpress divides by zero there).
// Bytes per token: none.
// In kvpress: LagKVPress (n_sink=4, lag_size=128), which acts once, at the end of the prompt. For short
// prompts its comment promises no compression, but it scores by position and evicts all the same; so does
// this.
// Examples: lagkv(keep=0.5) lagkv(keep=0.5,lag=64,at=context) lagkv(size=512,lag=32,cross_scoring=yes)
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cache/scorer.h"

namespace kvlab {

namespace {

void softmax(std::vector<double>& x) {
  const double most = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& e : x) sum += e = std::exp(e - most);
  for (double& e : x) e /= sum;
}

// Every element's place in the order of size, ties in their own order.
std::vector<int> ranks(const std::vector<double>& x) {
  std::vector<int> order(x.size()), rank(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return x[a] < x[b]; });
  for (size_t place = 0; place < order.size(); ++place) rank[order[place]] = static_cast<int>(place);
  return rank;
}

class LagKv : public PeriodicScorer {
 public:
  explicit LagKv(const ScorerContext& context)
      : head_dim_(context.shape.head_dim),
        lag_(context.values.integer("lag")),
        cross_scoring_(context.values.text("cross_scoring") == "yes") {}

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    const int64_t open =
        std::lower_bound(view.positions.begin(), view.positions.end(), view.sinks) - view.positions.begin();
    std::fill(out, out + open, std::numeric_limits<float>::infinity());
    const int64_t partitions = (live - open) / lag_;
    if (partitions < 2) {
      for (int64_t i = open; i < live; ++i)
        out[i] = static_cast<float>(i - open) / static_cast<float>(live - open);
      return;
    }
    for (int64_t p = 0; p + 1 < partitions; ++p) {
      const int64_t first = open + p * lag_;
      score_partition(view.k + first * head_dim_, view.v + first * head_dim_, out + first);
    }
    std::fill(out + open + (partitions - 1) * lag_, out + live, std::numeric_limits<float>::infinity());
  }

 private:
  // k and v: a partition and the next one behind it.
  void score_partition(const float* k, const float* v, float* out) const {
    const std::vector<double> keys = information(k), values = information(v);
    std::vector<double> both(keys.size());
    for (size_t i = 0; i < both.size(); ++i) both[i] = (keys[i] + values[i]) / 2;
    if (cross_scoring_) {
      std::copy(both.begin(), both.end(), out);
      return;
    }
    for (const int rank : ranks(both)) *out++ = static_cast<float>(rank) / static_cast<float>(lag_);
  }

  // softmax over x's rows of the spread of their channels within the ranges of the `lag` rows that follow.
  std::vector<double> information(const float* x) const {
    std::vector<float> least(x + lag_ * head_dim_, x + (lag_ + 1) * head_dim_), most = least;
    for (int64_t t = lag_ + 1; t < 2 * lag_; ++t) {
      for (int c = 0; c < head_dim_; ++c) {
        least[c] = std::min(least[c], x[t * head_dim_ + c]);
        most[c] = std::max(most[c], x[t * head_dim_ + c]);
      }
    }
    std::vector<double> per_range(head_dim_), spread(lag_);
    for (int c = 0; c < head_dim_; ++c)
      per_range[c] = most[c] > least[c] ? 1.0 / (static_cast<double>(most[c]) - least[c]) : 0.0;
    for (int64_t t = 0; t < lag_; ++t) spread[t] = deviation(x + t * head_dim_, least, per_range);
    softmax(spread);
    return spread;
  }

  // The standard deviation over channels of (x - least) per_range, with divisor d - 1.
  double deviation(const float* x, const std::vector<float>& least,
                   const std::vector<double>& per_range) const {
    double sum = 0, squares = 0;
    for (int c = 0; c < head_dim_; ++c) sum += (static_cast<double>(x[c]) - least[c]) * per_range[c];
    const double mean = sum / head_dim_;
    for (int c = 0; c < head_dim_; ++c) {
      const double off = (static_cast<double>(x[c]) - least[c]) * per_range[c] - mean;
      squares += off * off;
    }
    return std::sqrt(squares / std::max(1, head_dim_ - 1));
  }

  int head_dim_;
  int64_t lag_;
  bool cross_scoring_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "lagkv";
  info.title = "LagKV";
  info.paper =
      "Liang, Zhang, Li, Li: LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are "
      "Important, "
      "arXiv:2504.04704";
  info.summary = "keeps what stands out against the tokens that follow; looks at no query";
  info.formula =
      "score_j = rank_j of mean over key and value of softmax_j(std((x_j - min) / (max - min))), over lag";
  info.kind = ScorerKind::kPeriodic;
  info.sinks = 4;
  info.context_sinks = 4;
  info.no_threshold = "scores are ranks within a partition, so the same share would go at every action";
  info.fields = {int_field("lag", int64_t{128}, 2, 1 << 20, "entries of a partition"),
                 name_field("cross_scoring", std::string("no"), {"no", "yes"},
                            "compare scores across partitions instead of ranks within each")};
  info.create = [](const ScorerContext& context) { return std::make_unique<LagKv>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_lagkv;
const ScorerInfo kScorerInfo_lagkv = describe();

}  // namespace kvlab
