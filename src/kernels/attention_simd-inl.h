// What the attention kernels share on every SIMD target; included once per target (hence the toggled guard).
#if defined(KVLAB_KERNELS_ATTENTION_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVLAB_KERNELS_ATTENTION_SIMD_INL_H_
#undef KVLAB_KERNELS_ATTENTION_SIMD_INL_H_
#else
#define KVLAB_KERNELS_ATTENTION_SIMD_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a tile of 16 slots is a whole number of vectors.
using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
inline constexpr int kLanes = static_cast<int>(HWY_LANES(float) < 16 ? HWY_LANES(float) : 16);

// 2^x for x <= 0 within 1e-7 relative; exactly 0 below 2^-126. x = n + f with |f| <= 1/2, 2^f by a minimax
// polynomial, 2^n by adding to the exponent. The clamp keeps n in range for masked scores.
HWY_INLINE VF exp2_negative(VF x) {
  const DF d;
  const DI di;
  const VF least = hn::Set(d, -126.0f);
  const VF clamped = hn::Max(x, least);
  const auto n = hn::NearestInt(clamped);
  const VF f = hn::Sub(clamped, hn::ConvertTo(d, n));
  VF p = hn::Set(d, 0.00015345812f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.00133999312f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.00961848896f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.0555032878f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.240226469f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.693147206f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const VF scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(n)));
  return hn::IfThenElseZero(hn::Ge(x, least), scaled);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#endif
