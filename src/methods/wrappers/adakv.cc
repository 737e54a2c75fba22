// AdaKV.
// Idea: Heads differ in how many entries they need: the heads of a layer share one budget, and the
// entries of least score over all of them go.
// Paper: Feng, Lv, Cao, Xie, Zhou: Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for
// Efficient LLM Inference, arXiv:2407.11550.
// Symbols: H is the number of KV heads of a layer, k what the budget gives each head.
// Differs: none in the rule: of each head the best floor(safeguard k) entries stay in any case. Entries
// that go are really removed and their memory is given back; the published code keeps a flattened cache,
// kvpress masks them.
// Bytes per token: none beyond the scorer's; positions of the entries left.
// In kvpress: AdaKVPress (alpha_safeguard=0.2), which masks what it evicts.
// Examples: adakv(keep=0.25) adakv(of=expected_attention,keep=0.25,at=context) adakv(of=h2o,size=256)
#include "cache/share.h"

namespace kvlab {

namespace {

class AdaKv : public Wrapper {
 public:
  explicit AdaKv(double safeguard) : safeguard_(safeguard) {}
  bool joint() const override { return true; }
  void adjust(ActingHeads& unit) const override { share_by_score(unit, safeguard_); }

 private:
  double safeguard_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "adakv";
  info.title = "AdaKV";
  info.paper =
      "Feng, Lv, Cao, Xie, Zhou: Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for "
      "Efficient LLM Inference, arXiv:2407.11550";
  info.summary = "the heads of a layer share one budget: what scores least over all of them goes";
  info.formula = "of the layer's entries the H k best stay, of each head at least floor(safeguard k)";
  info.fields = {real_field("safeguard", 0.2, 0, 1, "fraction of its budget that a head has in any case")};
  info.no_threshold = "a threshold has no budget that heads could share";
  info.uneven = true;
  info.compares_heads = true;
  info.counts = false;
  info.create = [](const Values& values) { return std::make_unique<AdaKv>(values.real("safeguard")); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_adakv;
const WrapperInfo kWrapperInfo_adakv = describe();

}  // namespace kvlab
