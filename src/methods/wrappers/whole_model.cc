// Whole model.
// Idea: All heads of all layers share one budget, and the entries of least score over the whole model go.
// Paper: the rule of KVzip: Kim, Kim, Kwon, Lee, Yun, Song: KVzip: Query-Agnostic KV Cache Compression
// with Context Reconstruction, arXiv:2505.23416.
// Symbols: L layers, H KV heads each, k what the budget gives each head.
// Differs: none in the rule; with `safeguard` the best floor(safeguard k) of each head stay in any case.
// Bytes per token: none beyond the scorer's; positions of the entries left.
// In kvpress: within KVzipPress (layerwise=False) only, which masks what it evicts.
// Examples: whole_model(of=snapkv,keep=0.25,at=context)
// whole_model(of=h2o,keep=0.5,safeguard=0.1,at=context)
#include "cache/share.h"

namespace kvlab {

namespace {

class WholeModel : public Wrapper {
 public:
  explicit WholeModel(double safeguard) : safeguard_(safeguard) {}
  bool whole_model() const override { return true; }
  void adjust(ActingHeads& unit) const override { share_by_score(unit, safeguard_); }

 private:
  double safeguard_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "whole_model";
  info.title = "Whole model";
  info.paper =
      "Kim, Kim, Kwon, Lee, Yun, Song: KVzip: Query-Agnostic KV Cache Compression with Context "
      "Reconstruction, arXiv:2505.23416";
  info.summary = "all heads of all layers share one budget: what scores least over the model goes";
  info.formula = "of the model's entries the L H k best stay";
  info.fields = {real_field("safeguard", 0.0, 0, 1, "fraction of its budget that a head has in any case")};
  info.no_threshold = "a threshold has no budget that heads could share";
  info.context_only = "a layer's entries are compared with those of layers that come after it";
  info.uneven = true;
  info.compares_heads = true;
  info.counts = false;
  info.create = [](const Values& values) { return std::make_unique<WholeModel>(values.real("safeguard")); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_whole_model;
const WrapperInfo kWrapperInfo_whole_model = describe();

}  // namespace kvlab
