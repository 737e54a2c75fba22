#include "kernels/activations.h"

#include <cstddef>
#include <cstring>

#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSE4 | HWY_SSSE3)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activations.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>
#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// x / (1 + exp(-slope)).
HWY_INLINE VF gated(DF d, VF x, VF slope) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), exp_clamped(d, hn::Neg(slope))));
}

struct Silu {
  HWY_INLINE VF operator()(DF d, VF x) const { return gated(d, x, x); }
};

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  HWY_INLINE VF operator()(DF d, VF x) const {
    const VF cubic = hn::MulAdd(hn::Mul(hn::Set(d, 0.044715f), hn::Mul(x, x)), x, x);
    return gated(d, x, hn::Mul(hn::Set(d, 1.5957691216f), cubic));
  }
};

struct Relu {
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Max(x, hn::Zero(d)); }
};

// x Phi(x). With t = 1 / (1 + p |z|), z = x / sqrt 2: erfc |z| = t (a1 + t (a2 + ...)) exp(-z^2), to 1.5e-7
// (Abramowitz and Stegun, 7.1.26).
struct Gelu {
  HWY_INLINE VF operator()(DF d, VF x) const {
    const VF one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f);
    const VF z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
    const VF t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3275911f), z, one));
    VF p = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
    p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
    p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
    p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
    const VF erfc = hn::Mul(hn::Mul(p, t), exp_clamped(d, hn::Neg(hn::Mul(z, z))));
    const VF tail = hn::Mul(half, erfc);  // Phi(-|x|)
    return hn::Mul(x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)));
  }
};

template <class Function>
HWY_INLINE void for_each_value(Function f, const float* x, const float* by, size_t n, float* out) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF y = f(d, hn::LoadU(d, x + i));
    hn::StoreU(by ? hn::Mul(y, hn::LoadU(d, by + i)) : y, d, out + i);
  }
  if (i == n) return;
  HWY_ALIGN float last[hn::MaxLanes(DF())] = {}, factor[hn::MaxLanes(DF())] = {};
  std::memcpy(last, x + i, (n - i) * sizeof(float));
  if (by) std::memcpy(factor, by + i, (n - i) * sizeof(float));
  const VF y = f(d, hn::Load(d, last));
  hn::Store(by ? hn::Mul(y, hn::Load(d, factor)) : y, d, last);
  std::memcpy(out + i, last, (n - i) * sizeof(float));
}

// by: null, or what the results are multiplied by.
void Activate(int activation, const float* x, const float* by, size_t n, float* out) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kSilu:
      return for_each_value(Silu(), x, by, n, out);
    case Activation::kGelu:
      return for_each_value(Gelu(), x, by, n, out);
    case Activation::kGeluTanh:
      return for_each_value(GeluTanh(), x, by, n, out);
    case Activation::kRelu:
      return for_each_value(Relu(), x, by, n, out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>

namespace kvlab {

HWY_EXPORT(Activate);

void activate(Activation activation, float* x, int n) {
  HWY_DYNAMIC_DISPATCH(Activate)(static_cast<int>(activation), x, nullptr, static_cast<size_t>(n), x);
}

void activate_mul(Activation activation, const float* gate, const float* up, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(Activate)(static_cast<int>(activation), gate, up, static_cast<size_t>(n), out);
}

double reference::activated(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  if (activation == Activation::kRelu) return x > 0 ? x : 0;
  if (activation == Activation::kGelu) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

}  // namespace kvlab
#endif  // HWY_ONCE
