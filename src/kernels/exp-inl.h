// exp for float vectors. Included once per SIMD target, hence the guard that toggles.
#if defined(KVLAB_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVLAB_KERNELS_EXP_INL_H_
#undef KVLAB_KERNELS_EXP_INL_H_
#else
#define KVLAB_KERNELS_EXP_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// exp(x) to about 1e-7 relative for -86 <= x <= 87; x is clamped to that range, so that the result is always
// a normal number. Half the work of Highway's Exp, which also handles denormal and infinite results.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_clamped(D d, V x) {
  const hn::RebindToSigned<D> di;
  // In this order of arguments x86's min and max let a NaN through.
  x = hn::Min(hn::Set(d, 87.0f), hn::Max(hn::Set(d, -86.0f), x));
  // Adding 1.5 * 2^23 rounds x / ln 2 to an integer q and leaves q in the low bits.
  const V magic = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const V q = hn::Sub(shifted, magic);
  // ln 2 in two parts; the first has few bits, so q times it is exact.
  V r = hn::NegMulAdd(q, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(q, hn::Set(d, -2.12194440e-4f), r);
  // exp(r) = 1 + r + r^2 p(r), |r| <= ln(2) / 2: p interpolates at Chebyshev nodes, error 1e-8.
  V p = hn::MulAdd(hn::Set(d, 1.39262508e-3f), r, hn::Set(d, 8.36323288e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16665542e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.66665767e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  const V y = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0f));
  // Times 2^q: q is added to the exponent; the other bits of `shifted` leave at the top.
  return hn::BitCast(d, hn::Add(hn::BitCast(di, y), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#endif  // guard
