#include "kernels/elementwise.h"

#include <cmath>
#include <cstring>

// Three targets are enough on x86: AVX-512, AVX2, and whatever the compiler may assume anyway.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSE4 | HWY_SSSE3)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
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

// The last, partial vector goes through memory: masked loads read past the end on some targets.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_some(D d, const T* x, size_t n) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())] = {};
  std::memcpy(lanes, x, n * sizeof(T));
  return hn::Load(d, lanes);
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_some(D d, hn::Vec<D> v, T* x, size_t n) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  std::memcpy(x, lanes, n * sizeof(T));
}

// Four sums, so that one addition need not wait for the last. Also shortens each chain of roundings.
float SumOfSquares(const float* x, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const VF a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    const VF c = hn::LoadU(d, x + i + 2 * lanes), e = hn::LoadU(d, x + i + 3 * lanes);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
    s2 = hn::MulAdd(c, c, s2);
    s3 = hn::MulAdd(e, e, s3);
  }
  for (; i + lanes <= n; i += lanes) {
    const VF a = hn::LoadU(d, x + i);
    s0 = hn::MulAdd(a, a, s0);
  }
  if (i < n) {
    const VF a = load_some(d, x + i, n - i);
    s1 = hn::MulAdd(a, a, s1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

void RmsNorm(const float* x, const float* weight, float eps, int count, float* out) {
  const DF d;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  const float scale = 1.0f / std::sqrt(SumOfSquares(x, n) / static_cast<float>(n) + eps);
  const VF by = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), by), hn::LoadU(d, weight + i)), d, out + i);
  }
  if (i < n) {
    const VF y = hn::Mul(hn::Mul(load_some(d, x + i, n - i), by), load_some(d, weight + i, n - i));
    store_some(d, y, out + i, n - i);
  }
}

// Mean first, then the squares of what is left: the difference of two large sums would lose digits.
void LayerNorm(const float* x, const float* weight, const float* bias, float eps, int count, float* out) {
  const DF d;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  VF total = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) total = hn::Add(total, hn::LoadU(d, x + i));
  float sum = hn::GetLane(hn::SumOfLanes(d, total));
  for (; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  const VF middle = hn::Set(d, mean);
  for (i = 0; i + lanes <= n; i += lanes) hn::StoreU(hn::Sub(hn::LoadU(d, x + i), middle), d, out + i);
  for (; i < n; ++i) out[i] = x[i] - mean;
  const float scale = 1.0f / std::sqrt(SumOfSquares(out, n) / static_cast<float>(n) + eps);
  const VF by = hn::Set(d, scale);
  for (i = 0; i + lanes <= n; i += lanes) {
    const VF normed = hn::Mul(hn::LoadU(d, out + i), by);
    hn::StoreU(hn::MulAdd(normed, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = out[i] * scale * weight[i] + bias[i];
}

HWY_INLINE VF silu_mul(DF d, VF gate, VF up) {
  const VF one = hn::Set(d, 1.0f);
  return hn::Mul(hn::Div(gate, hn::Add(one, exp_clamped(d, hn::Neg(gate)))), up);
}

void SiluMul(const float* gate, const float* up, int count, float* out) {
  const DF d;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(silu_mul(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
  }
  if (i < n) {
    store_some(d, silu_mul(d, load_some(d, gate + i, n - i), load_some(d, up + i, n - i)), out + i, n - i);
  }
}

void AddTo(const float* x, int count, float* y) {
  const DF d;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  for (; i < n; ++i) y[i] += x[i];
}

void RotateHalfSplit(float* x, const float* cos, const float* sin, int dims) {
  const DF d;
  const size_t half = static_cast<size_t>(dims) / 2, lanes = hn::Lanes(d);
  float* high = x + half;
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const VF a = hn::LoadU(d, x + i), b = hn::LoadU(d, high + i);
    const VF c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, high + i);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = high[i];
    x[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

// The upper half of each float after rounding to nearest even; the lower half is left as it comes. Done with
// integers, because the CPU's own conversion flushes denormals and exists on few targets.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<DF>> rounded_bits(VF x) {
  const hn::RebindToUnsigned<DF> du;
  const auto u = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
  const auto rounded = hn::Add(u, hn::Add(odd, hn::Set(du, 0x7fff)));
  // A NaN must not round up into infinity.
  const auto quiet = hn::Or(u, hn::Set(du, 0x400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
}

void ToBF16(const float* x, int64_t count, BF16* out) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const hn::Rebind<uint16_t, DF> d16;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  uint16_t* to = &out->bits;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto upper = hn::BitCast(di, hn::ShiftRight<16>(rounded_bits(hn::LoadU(d, x + i))));
    hn::StoreU(hn::DemoteTo(d16, upper), d16, to + i);
  }
  for (; i < n; ++i) out[i] = to_bf16(x[i]);
}

void ToF32(const BF16* x, int64_t count, float* out) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> d16;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  const uint16_t* from = &x->bits;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto wide = hn::PromoteTo(du, hn::LoadU(d16, from + i));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(wide)), d, out + i);
  }
  for (; i < n; ++i) out[i] = to_float(x[i]);
}

void RoundToBF16(float* x, int64_t count) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d);
  const auto upper = hn::Set(du, 0xffff0000u);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::BitCast(d, hn::And(rounded_bits(hn::LoadU(d, x + i)), upper)), d, x + i);
  }
  for (; i < n; ++i) x[i] = to_float(to_bf16(x[i]));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(SumOfSquares);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(LayerNorm);
HWY_EXPORT(SiluMul);
HWY_EXPORT(AddTo);
HWY_EXPORT(RotateHalfSplit);
HWY_EXPORT(ToBF16);
HWY_EXPORT(ToF32);
HWY_EXPORT(RoundToBF16);

void rms_norm(const float* x, const float* weight, float eps, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, eps, n, out);
}
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(LayerNorm)(x, weight, bias, eps, n, out);
}
void silu_mul(const float* gate, const float* up, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(SiluMul)(gate, up, n, out);
}
void add_to(const float* x, int n, float* y) {
  HWY_DYNAMIC_DISPATCH(AddTo)(x, n, y);
}
void rotate_half_split(float* x, const float* cos, const float* sin, int dims) {
  HWY_DYNAMIC_DISPATCH(RotateHalfSplit)(x, cos, sin, dims);
}
void to_bf16(const float* x, int64_t n, BF16* out) {
  HWY_DYNAMIC_DISPATCH(ToBF16)(x, n, out);
}
void to_f32(const BF16* x, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(ToF32)(x, n, out);
}
void round_to_bf16(float* x, int64_t n) {
  HWY_DYNAMIC_DISPATCH(RoundToBF16)(x, n);
}
float l2_norm(const float* x, int n) {
  return std::sqrt(HWY_DYNAMIC_DISPATCH(SumOfSquares)(x, static_cast<size_t>(n)));
}

}  // namespace kvlab
#endif  // HWY_ONCE
