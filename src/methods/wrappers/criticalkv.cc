// CriticalKV.
// Idea: What an evicted entry changes is attention weight times what its value adds to the layer's
// output, so a score that speaks of attention alone is weighed with the length of the value behind the
// output projection.
// Paper: Feng, Lv, Guo, Cao, Zhou, Xie: Identify Critical KV Cache in LLM Inference from an Output
// Perturbation Perspective, arXiv:2502.03805.
// Symbols: s_j is the scorer's score of entry j, v_j its value, W_g the rows of the output projection
// that belong to query head g of the group, k what the budget (or a wrapper within) gives the head, the
// norm is the sum of absolute values.
// Differs: none from kvpress. Half of the budget goes by the score alone, the paper's first stage. Scores
// below zero (knorm, keydiff) are multiplied all the same, as kvpress does, and then a longer output
// makes an entry go earlier: the method is meant for scores that are attention.
// Bytes per token: none beyond the scorer's; the output projections are held as floats beside the model's
// own.
// In kvpress: CriticalKVPress (first_stage_ratio=0.5, epsilon=1e-4); criticalkv(of=adakv(of=X)) is its
// CriticalAdaKVPress.
// Examples: criticalkv(keep=0.25) criticalkv(of=expected_attention,keep=0.5,at=context)
// criticalkv(of=adakv(of=snapkv),keep=0.25,at=context)
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cache/wrapper.h"
#include "kernels/sgemm.h"
#include "tensor/buffer.h"

namespace kvlab {

namespace {

constexpr int kRows = 64;  // entries whose outputs are held at a time

// In partial sums side by side, which become a vector.
float sum_of_absolutes(const float* x, int count) {
  constexpr int kLanes = 16;
  float lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += std::abs(x[i + l]);
  }
  float sum = 0;
  for (; i < count; ++i) sum += std::abs(x[i]);
  for (const float lane : lanes) sum += lane;
  return sum;
}

// norms[i] = mean over the group's query heads of the sum of absolute values of v_i W_g.
void output_norms(const ActingHeads& unit, const ActingHead& head, std::vector<float>& norms) {
  static thread_local Buffer<float> products;
  const ModelShape& shape = *unit.shape;
  const int d = shape.head_dim, hidden = shape.hidden, group = shape.group();
  const auto live = static_cast<int>(head.positions.size());
  products.reserve_discard(static_cast<size_t>(kRows) * hidden);
  norms.assign(static_cast<size_t>(live), 0.0f);
  for (int g = 0; g < group; ++g) {
    const float* projection = unit.output.data() + int64_t{1} * (head.head * group + g) * d * hidden;
    for (int first = 0; first < live; first += kRows) {
      const int rows = std::min(kRows, live - first);
      multiply(rows, hidden, d, {head.v + int64_t{1} * first * d, d}, {projection, hidden}, products.data(),
               hidden);
      for (int r = 0; r < rows; ++r) {
        const float sum = sum_of_absolutes(products.data() + int64_t{1} * r * hidden, hidden);
        norms[static_cast<size_t>(first + r)] += sum / static_cast<float>(group);
      }
    }
  }
}

class CriticalKv : public Wrapper {
 public:
  CriticalKv(double first_stage, double epsilon)
      : first_stage_(first_stage), epsilon_(static_cast<float>(epsilon)) {}
  bool wants_entries() const override { return true; }
  bool wants_output() const override { return true; }

  void adjust(ActingHeads& unit) const override {
    for (ActingHead& head : unit.heads) {
      if (!head.positions.empty()) weigh(unit, head);
    }
  }

 private:
  void weigh(const ActingHeads& unit, ActingHead& head) const {
    const std::vector<uint8_t> chosen = first_stage(head);
    std::vector<float> norms;
    output_norms(unit, head, norms);
    for (size_t i = 0; i < norms.size(); ++i) {
      float& score = head.scores[i];
      // An infinite score stays what it is, whatever its value is worth.
      if (chosen[i]) score = std::numeric_limits<float>::infinity();
      if (std::isfinite(score)) score = (score + epsilon_) * norms[i];
    }
  }

  // The entries that stay by their score alone: the best floor(first_stage * limit), protected ones first.
  std::vector<uint8_t> first_stage(const ActingHead& head) const {
    const size_t live = head.positions.size();
    const auto wanted = static_cast<int64_t>(std::floor(head.exact_limit * first_stage_ + 1e-6));
    const auto count = static_cast<size_t>(
        std::clamp<int64_t>(wanted, first_stage_ > 0 ? 1 : 0, static_cast<int64_t>(live)));
    std::vector<int32_t> order(live);
    std::iota(order.begin(), order.end(), 0);
    const auto better = [&](int32_t a, int32_t b) {
      const bool first = head.is_protected(static_cast<size_t>(a)),
                 second = head.is_protected(static_cast<size_t>(b));
      if (first != second) return first;
      return head.scores[a] != head.scores[b] ? head.scores[a] > head.scores[b] : a > b;
    };
    std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(), better);
    std::vector<uint8_t> chosen(live);
    for (size_t r = 0; r < count; ++r) chosen[static_cast<size_t>(order[r])] = 1;
    return chosen;
  }

  double first_stage_;
  float epsilon_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "criticalkv";
  info.title = "CriticalKV";
  info.paper =
      "Feng, Lv, Guo, Cao, Zhou, Xie: Identify Critical KV Cache in LLM Inference from an Output "
      "Perturbation "
      "Perspective, arXiv:2502.03805";
  info.summary = "weighs scores with what the entry's value adds to the layer's output";
  info.formula =
      "score = (s_j + epsilon) mean over the group of |v_j W_g|_1; the floor(first_stage k) best s_j stay "
      "first";
  info.fields = {
      real_field("first_stage", 0.5, 0, 1, "fraction of the budget that goes by the scorer's score alone"),
      real_field("epsilon", 1e-4, 0, 1e6, "added to the score, so that a score of zero still has a rank")};
  info.uneven = true;
  info.no_threshold = "its first stage is a part of a budget";
  info.create = [](const Values& values) {
    return std::make_unique<CriticalKv>(values.real("first_stage"), values.real("epsilon"));
  };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_criticalkv;
const WrapperInfo kWrapperInfo_criticalkv = describe();

}  // namespace kvlab
