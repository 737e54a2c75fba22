// CriticalAdaKV of the paper and of kvpress: AdaKV shares the layer's budget out over its heads, then each
// head keeps half of its share by score and half by score times what the value adds to the output. of= says
// whose scores: critical_adakv(of=expected_attention,...).
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_critical_adakv;
const NamedInfo kNamedInfo_critical_adakv = {
    "critical_adakv", "CriticalAdaKV",
    "Feng, Lv, Guo, Cao, Zhou, Xie: Identify Critical KV Cache in LLM Inference from an Output Perturbation "
    "Perspective, arXiv:2502.03805",
    "CriticalKV within the head budgets of AdaKV", "criticalkv(of=adakv)"};

}  // namespace kvlab
