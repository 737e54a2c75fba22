// Oracle.
// Idea: It knows the future: it evicts what later queries would attend to least. Not a method but a ceiling
// to measure methods by, and marked so wherever it appears. A first pass without compression gives the
// attention a_ij of every query i to every entry j (mean over the query heads of a group); a second pass is
// run with the evictions planned from it. With keep, size or free_density, entry j is worth its remaining
// attention, sum_{i >= n} a_ij, times |v_j| (value_norm=yes): a query that misses it loses a_ij v_j. On the
// built-in corpus (700 tokens each, keep=0.5 and 0.2) the length of the value took 9% and 12% off the loss.
// With a threshold, entries stay in any layer and head as long as some number of further queries pays more
// than the threshold on average: of all plans that show queries as many entries, this one loses the least of
// sum a_ij |v_j| (a Lagrangian relaxation, entry by entry). So keep bounds methods with the same budget in
// every head, a threshold those that spend it unevenly. It is a strong bound, not a proven one: attention
// mass is not loss, the second pass's attention differs from the first's once entries are gone, and under a
// limit evicting the entry of least remaining mass now need not be best for what comes (Belady's rule is
// optimal for paging, where a miss costs the same whenever it comes).
// Paper: none; the idea is that of Belady, A study of replacement algorithms for a virtual-storage computer,
// IBM Systems Journal 5(2), 1966.
// Symbols: a_ij is the attention weight of query i on entry j without compression, |v_j| the length of the
// entry's value (with a threshold, in units of the head's mean), n the number of tokens seen when the budget
// acts.
// Differs: from Belady's rule, as said above.
// Bytes per token: none, since nothing has to be remembered.
// In kvpress: none.
// Examples: oracle(keep=0.5) oracle(threshold=0.002) oracle(keep=0.25,sinks=4)
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "cache/lifetimes.h"
#include "cache/planned.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

// The weights of one head's queries are held as a triangle of floats.
constexpr int64_t kMostTokens = 16384;

class Oracle : public PlannedScorer {
 public:
  explicit Oracle(bool value_norm) : value_norm_(value_norm) {}
  bool hindsight() const override { return true; }

  void plan(const PlanView& view, const Policy& policy, std::span<int32_t> evict_at) const override {
    if (view.n > kMostTokens) {
      throw UserError("oracle holds the attention of a whole document: " + std::to_string(view.n) +
                      " tokens are more than the " + std::to_string(kMostTokens) +
                      " it takes; cut the documents with --max_length");
    }
    if (policy.neutral()) return;
    const std::vector<float> weights = attention(view);
    const std::vector<double> size = value_sizes(view);
    if (policy.threshold()) {
      for (int64_t j = policy.sinks; j < view.n; ++j)
        evict_at[j] = end_of_worth(view, policy, weights, j, size[j]);
    } else {
      plan_by_limit(view, policy, weights, size, evict_at);
    }
  }

 private:
  // Lengths of the values, in units of their mean: 1 on average in every head, so that heads can be compared.
  std::vector<double> value_sizes(const PlanView& view) const {
    std::vector<double> size(static_cast<size_t>(view.n), 1.0);
    if (!value_norm_) return size;
    double sum = 0;
    for (int64_t j = 0; j < view.n; ++j) sum += size[j] = l2_norm(view.v + j * view.head_dim, view.head_dim);
    for (double& length : size) length *= sum > 0 ? static_cast<double>(view.n) / sum : 1;
    return size;
  }

  // The first action n from which on no number of further queries is worth more than the threshold on
  // average. best: the most that a_ij |v_j| - threshold can still add up to from query n on.
  static int32_t end_of_worth(const PlanView& view, const Policy& policy, const std::vector<float>& weights,
                              int64_t j, double size) {
    int32_t evict_at = kNever;
    double best = 0;
    for (int64_t n = view.n - 1; n > j; --n) {
      best = std::max(0.0, best + row(weights, n)[j] * size - policy.value);
      const bool acts = policy.at_context ? n == view.context : policy.acts(n);
      if (best <= 0 && acts && !policy.is_protected(j, n)) evict_at = static_cast<int32_t>(n);
    }
    return evict_at;
  }

  static void plan_by_limit(const PlanView& view, const Policy& policy, const std::vector<float>& weights,
                            const std::vector<double>& size, std::span<int32_t> evict_at) {
    std::vector<double> remaining(static_cast<size_t>(view.n), 0.0);
    for (int64_t i = 0; i < view.n; ++i) {
      for (int64_t j = 0; j <= i; ++j) remaining[j] += row(weights, i)[j];
    }
    std::vector<int32_t> live, gone;
    std::vector<float> scores;
    for (int64_t n = 1; n <= view.n; ++n) {
      live.push_back(static_cast<int32_t>(n - 1));
      if (policy.expired(live.front(), n)) live.erase(live.begin());
      for (int64_t j = 0; j < n; ++j) remaining[j] -= row(weights, n - 1)[j];
      if (!(policy.at_context ? n == view.context : policy.acts(n))) continue;
      scores.clear();
      for (const int32_t j : live) scores.push_back(static_cast<float>(remaining[j] * size[j]));
      act_once(policy, n, live, scores, gone);
      for (const int32_t slot : gone) {
        evict_at[live[slot]] = static_cast<int32_t>(n);
        live.erase(live.begin() + slot);
      }
    }
  }

  static float* row(std::vector<float>& triangle, int64_t i) { return triangle.data() + i * (i + 1) / 2; }
  static const float* row(const std::vector<float>& triangle, int64_t i) {
    return triangle.data() + i * (i + 1) / 2;
  }

  static std::vector<float> attention(const PlanView& view) {
    std::vector<float> weights(static_cast<size_t>(view.n * (view.n + 1) / 2), 0.0f);
    std::vector<float> head(static_cast<size_t>(view.n));
    for (int64_t i = 0; i < view.n; ++i) {
      for (int g = 0; g < view.group; ++g) {
        const int64_t first = view.window > 0 ? std::max<int64_t>(0, i + 1 - view.window) : 0;
        const int64_t seen = i + 1 - first;
        dots(view.q + i * view.q_stride + int64_t{1} * g * view.head_dim, view.k + first * view.head_dim,
             seen, view.head_dim, head.data());
        for (int64_t j = 0; j < seen; ++j) head[j] *= attention_scale(view.head_dim);
        masked_softmax(head.data(), seen);
        for (int64_t j = 0; j < seen; ++j)
          row(weights, i)[first + j] += head[j] / static_cast<float>(view.group);
      }
    }
    return weights;
  }

  bool value_norm_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "oracle";
  info.title = "Oracle";
  info.paper = "a control; after Belady, IBM Systems Journal 5(2), 1966";
  info.summary = "evicts what future queries will attend to least; knows the future, so it bounds the others";
  info.formula =
      "score_j = (sum over i >= n of a_ij) * |v_j|, a and v of a first pass without compression (threshold: "
      "the "
      "largest mean of a_ij |v_j| / mean |v| over queries n <= i < e, for any e)";
  info.kind = ScorerKind::kPlanned;
  info.window = WindowRule::kNone;
  info.non_causal = true;
  info.fields = {
      name_field("value_norm", std::string("yes"), {"yes", "no"}, "multiply by the length of the value")};
  info.create = [](const ScorerContext& context) {
    return std::make_unique<Oracle>(context.values.text("value_norm") == "yes");
  };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_oracle;
const ScorerInfo kScorerInfo_oracle = describe();

}  // namespace kvlab
