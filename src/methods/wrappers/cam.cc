// CaM.
// Idea: A value that goes is spread over the entries that follow it, with a probability that is the
// higher the more attention the entry had: what mattered is not lost, and what did not disturbs nothing.
// Paper: Zhang, Du, Luo, Zhong, Zhang, Liu, Ji: CaM: Cache Merging for Memory-efficient LLMs Inference,
// ICML 2024, PMLR 235:58840-58850.
// Symbols: A_j is the scorer's score of entry j, so cumulated, mean or voted attention (h2o,
// observed_attention, snapkv, tova); N the next `neighbours` entries after e that stay, fewer at the end.
// Differs: A is the score of the scorer that decides, so attention counts from the first token on;
// kvpress sums it apart, from the end of the prompt on, for any scorer, and evicts the same entries in
// all heads. Everything that an action evicts is merged, in order of position, where kvpress takes as
// many as there were steps: the same once the cache is full. Entries that the scorer keeps in any case
// (+infinity) do not count in the mean. A draw is a hash of seed, document, layer, head and position, so
// a split changes none.
// Bytes per token: none beyond the scorer's.
// In kvpress: CAMPress (merge_budget=32), in decoding.
// Examples: cam(of=h2o,size=256) cam(of=observed_attention,keep=0.5)
// cam(of=snapkv,keep=0.25,neighbours=16)
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "cache/wrapper.h"

namespace kvlab {

namespace {

class Cam : public Wrapper {
 public:
  Cam(int64_t neighbours, int64_t seed)
      : neighbours_(static_cast<size_t>(neighbours)), seed_(static_cast<uint64_t>(seed)) {}
  bool wants_entries() const override { return true; }
  bool revises() const override { return true; }

  void revise(ActingHeads& unit) const override {
    for (ActingHead& head : unit.heads) merge(unit, head);
  }

 private:
  void merge(const ActingHeads& unit, ActingHead& head) const {
    std::vector<size_t> staying;
    for (size_t i = 0; i < head.stays.size(); ++i) {
      if (head.stays[i]) staying.push_back(i);
    }
    auto next = staying.begin();
    for (size_t e = 0; e < head.stays.size(); ++e) {
      if (head.stays[e]) continue;
      next = std::upper_bound(next, staying.end(), e);
      const std::span<const size_t> window(
          next, std::min<size_t>(neighbours_, static_cast<size_t>(staying.end() - next)));
      if (window.empty()) return;
      const float draw =
          entry_uniform(seed_, unit.document, static_cast<uint64_t>(unit.layer),
                        static_cast<uint64_t>(head.head), static_cast<uint64_t>(head.positions[e]));
      if (draw < probability(head, e, window)) spread(unit.shape->head_dim, e, window, head);
    }
  }

  static double probability(const ActingHead& head, size_t e, std::span<const size_t> window) {
    double sum = 0, count = 0;
    for (const size_t j : window) {
      if (!std::isfinite(head.given_scores[j])) continue;
      sum += head.given_scores[j];
      count += 1;
    }
    const double own = head.given_scores[e];
    if (count == 0 || !(own > 0)) return 0;
    return sum > 0 ? std::min(1.0, own * count / sum) : 1;
  }

  static void spread(int d, size_t e, std::span<const size_t> window, ActingHead& head) {
    const float share = 1.0f / static_cast<float>(window.size());
    const float* value = head.v + e * static_cast<size_t>(d);
    for (const size_t j : window) {
      for (int i = 0; i < d; ++i) head.v[j * static_cast<size_t>(d) + i] += share * value[i];
      head.changed[j] = 1;
    }
  }

  size_t neighbours_;
  uint64_t seed_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "cam";
  info.title = "CaM";
  info.paper =
      "Zhang, Du, Luo, Zhong, Zhang, Liu, Ji: CaM: Cache Merging for Memory-efficient LLMs Inference, ICML "
      "2024, "
      "PMLR 235:58840-58850";
  info.summary =
      "spreads an evicted value over the entries after it, by chance, the likelier the more attended";
  info.formula = "with probability min(1, A_e / mean over N of A_j): v_j = v_j + v_e / |N| for j in N";
  info.of = "h2o";
  info.fields = {int_field("neighbours", int64_t{32}, 1, 1 << 20,
                           "entries after it that an evicted value is spread over"),
                 int_field("seed", int64_t{0}, 0, int64_t{1} << 53, "seed of the draws")};
  info.of_attention = true;
  info.create = [](const Values& values) {
    return std::make_unique<Cam>(values.integer("neighbours"), values.integer("seed"));
  };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_cam;
const WrapperInfo kWrapperInfo_cam = describe();

}  // namespace kvlab
