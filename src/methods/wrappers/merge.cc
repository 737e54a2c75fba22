// Similarity merge.
// Idea: What goes is not lost: each evicted value is added to that of the entry that stays whose key is
// most like its own, the more the more alike they are.
// Paper: none of its own; NVIDIA/kvpress (MergingPress), after Wan et al.: D2O: Dynamic Discriminative
// Operations for Efficient Long-Context Inference of Large Language Models, arXiv:2406.13035.
// Symbols: k_e and v_e are key and value of an entry that goes, t the entry that stays with the largest
// cosine of k_t and k_e, sim that cosine; the sum goes over all e that have the same t.
// Differs: while streaming, what goes at one action is merged into what stays then, which may hold merged
// values already. Keys are compared as they lie in the cache, rotated; any entry that stays may be the
// target, protected ones too.
// Bytes per token: none; a value that took others in has no memory of how many they were.
// In kvpress: MergingPress (similarity_threshold=0, merge_fraction=1).
// Examples: merge(of=knorm,keep=0.5,at=context) merge(of=snapkv,keep=0.25)
// merge(of=h2o,size=256,similarity=0.5)
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cache/wrapper.h"
#include "kernels/elementwise.h"
#include "kernels/sgemm.h"
#include "tensor/buffer.h"

namespace kvlab {

namespace {

// Rows of the head's keys, each divided by its norm: [indices][head_dim].
void unit_keys(const ActingHead& head, std::span<const int32_t> indices, int d, float* out) {
  for (const int32_t index : indices) {
    const float* key = head.k + int64_t{index} * d;
    const float scale = 1.0f / std::max(l2_norm(key, d), 1e-6f);
    for (int i = 0; i < d; ++i) *out++ = key[i] * scale;
  }
}

constexpr size_t kRows = 64;  // entries that go, compared at a time

// For each entry that goes the most similar one that stays, and how similar it is.
struct Matches {
  std::vector<int32_t> target;  // index in the head
  std::vector<float> similarity;
};

Matches match(const ActingHead& head, std::span<const int32_t> going, std::span<const int32_t> staying,
              int d) {
  static thread_local Buffer<float> keys, products, rows;
  const auto columns = static_cast<int>(staying.size());
  keys.reserve_discard(staying.size() * static_cast<size_t>(d));
  unit_keys(head, staying, d, keys.data());
  products.reserve_discard(kRows * staying.size());
  rows.reserve_discard(kRows * static_cast<size_t>(d));
  Matches matches;
  for (size_t first = 0; first < going.size(); first += kRows) {
    const std::span<const int32_t> some = going.subspan(first, std::min(kRows, going.size() - first));
    unit_keys(head, some, d, rows.data());
    multiply(static_cast<int>(some.size()), columns, d, {rows.data(), d}, {keys.data(), d, true},
             products.data(), columns);
    for (size_t r = 0; r < some.size(); ++r) {
      const Maximum best = first_maximum(products.data() + r * staying.size(), columns);
      matches.target.push_back(staying[static_cast<size_t>(std::max(best.index, 0))]);
      matches.similarity.push_back(best.value);
    }
  }
  return matches;
}

class Merge : public Wrapper {
 public:
  Merge(double similarity, double fraction) : least_(static_cast<float>(similarity)), fraction_(fraction) {}
  bool wants_entries() const override { return true; }
  bool revises() const override { return true; }

  void revise(ActingHeads& unit) const override {
    for (ActingHead& head : unit.heads) merge(unit.shape->head_dim, head);
  }

 private:
  void merge(int d, ActingHead& head) const {
    std::vector<int32_t> going, staying;
    for (size_t i = 0; i < head.stays.size(); ++i)
      (head.stays[i] ? staying : going).push_back(static_cast<int32_t>(i));
    if (going.empty() || staying.empty()) return;
    const Matches matches = match(head, going, staying, d);
    const float least = gate(matches.similarity);
    // Weights are of the values as they were, so the sums are taken apart.
    std::vector<double> weight(head.stays.size());
    std::vector<double> sums(head.stays.size() * static_cast<size_t>(d));
    for (size_t e = 0; e < going.size(); ++e) {
      const float similarity = matches.similarity[e];
      if (!(similarity >= least) || similarity <= 0) continue;
      const auto target = static_cast<size_t>(matches.target[e]);
      const float* value = head.v + int64_t{going[e]} * d;
      const double own = l2_norm(value, d), other = l2_norm(head.v + target * d, d);
      const double w = similarity * own / (own + other + 1e-6);
      weight[target] += w;
      for (int i = 0; i < d; ++i) sums[target * d + i] += w * value[i];
    }
    for (const int32_t target : staying) {
      const auto t = static_cast<size_t>(target);
      if (weight[t] == 0) continue;
      for (int i = 0; i < d; ++i) {
        float& x = head.v[t * d + i];
        x = static_cast<float>((x + sums[t * d + i]) / (1 + weight[t]));
      }
      head.changed[t] = 1;
    }
  }

  // What a similarity must reach: the least allowed, and the quantile above which `fraction` of them lie.
  float gate(const std::vector<float>& similarities) const {
    if (fraction_ >= 1) return least_;
    std::vector<float> sorted;
    for (const float s : similarities)
      sorted.push_back(s >= least_ ? s : -std::numeric_limits<float>::infinity());
    std::sort(sorted.begin(), sorted.end());
    const double at = (1 - fraction_) * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(at);
    if (!std::isfinite(sorted[below])) return least_;
    const float above = sorted[std::min(below + 1, sorted.size() - 1)];
    return std::max(least_,
                    static_cast<float>(sorted[below] + (at - std::floor(at)) * (above - sorted[below])));
  }

  float least_;
  double fraction_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "merge";
  info.title = "Similarity merge";
  info.paper = "NVIDIA/kvpress, after Wan et al.: D2O, arXiv:2406.13035";
  info.summary = "adds each evicted value to that of the entry with the most similar key that stays";
  info.formula = "v_t = (v_t + sum w_e v_e) / (1 + sum w_e), w_e = max(sim, 0) |v_e| / (|v_e| + |v_t|)";
  info.fields = {
      real_field("similarity", 0.0, -1, 1, "an evicted entry less similar than this is not merged"),
      real_field("fraction", 1.0, 0, 1, "fraction of the evicted that is merged, the most similar")};
  info.create = [](const Values& values) {
    return std::make_unique<Merge>(values.real("similarity"), values.real("fraction"));
  };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_merge;
const WrapperInfo kWrapperInfo_merge = describe();

}  // namespace kvlab
