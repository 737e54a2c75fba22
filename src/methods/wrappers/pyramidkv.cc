// PyramidKV.
// Idea: Lower layers spread their attention wide and upper layers gather it in a few entries, so the
// budget of a layer falls linearly with its depth.
// Paper: Cai et al.: PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling,
// arXiv:2406.02069.
// Symbols: B is what the budget gives each layer on average, w the scorer's observation window, n the
// tokens seen, l the layer of L.
// Differs: the paper adds w to a budget reckoned without it and cuts the step to a whole number; as in
// kvpress B is the whole budget and each layer's share is rounded, halves to even. While streaming the
// shares follow n. Where the pyramid does not fit (B/beta below w, or the widest layer narrower than w)
// all layers get B.
// Bytes per token: none beyond the scorer's.
// In kvpress: PyramidKVPress (beta=20, window_size=64, kernel_size=5), always around SnapKV.
// Examples: pyramidkv(keep=0.25) pyramidkv(of=snapkv,keep=0.5,queries=64,beta=20,at=context)
// pyramidkv(of=h2o,size=256)
#include <cmath>

#include "cache/wrapper.h"

namespace kvlab {

namespace {

class PyramidKv : public Wrapper {
 public:
  explicit PyramidKv(double beta) : beta_(beta) {}
  bool spreads() const override { return true; }

  int64_t layer_limit(const LayerShare& share) const override {
    const double b = share.uniform;
    const auto n = static_cast<double>(share.n), w = static_cast<double>(share.queries);
    double least = b / beta_, most = 2 * b - least;
    if (most >= n - w) {
      most = n - w;
      least = 2 * b - most;
    }
    if (share.layers < 2 || !(n >= most && most >= least && least >= w))
      return static_cast<int64_t>(std::nearbyint(b));
    return static_cast<int64_t>(std::nearbyint(most - share.layer * (most - least) / (share.layers - 1)));
  }

 private:
  double beta_;
};

WrapperInfo describe() {
  WrapperInfo info;
  info.name = "pyramidkv";
  info.title = "PyramidKV";
  info.paper =
      "Cai et al.: PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling, "
      "arXiv:2406.02069";
  info.summary = "lower layers get more of the budget than upper ones, falling linearly";
  info.formula = "k_l = most - l (most - least) / (L - 1), least = B / beta, most = 2 B - least <= n - w";
  info.fields = {real_field("beta", 20.0, 1, 1e6, "the last layer gets 1/beta of the mean budget")};
  info.no_threshold = "a threshold has no budget that layers could share";
  info.counts = false;
  info.create = [](const Values& values) { return std::make_unique<PyramidKv>(values.real("beta")); };
  return info;
}

}  // namespace

extern const WrapperInfo kWrapperInfo_pyramidkv;
const WrapperInfo kWrapperInfo_pyramidkv = describe();

}  // namespace kvlab
