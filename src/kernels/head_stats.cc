// Online statistics over slabs of logits. A slab is read twice, for its maximum and for its sums; it is still
// in the cache the second time.
#include <cmath>
#include <cstring>

#include "kernels/elementwise.h"

// Three targets are enough on x86: AVX-512, AVX2, and whatever the compiler may assume anyway.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSE4 | HWY_SSSE3)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/head_stats.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>
#include "kernels/exp-inl.h"

// What one pass over a slab returns. Seen by every target, hence the guard.
#ifndef KVLAB_HEAD_STATS_SUMS
#define KVLAB_HEAD_STATS_SUMS
namespace kvlab {
struct PairSums {
  double base = 0, own = 0, weighted = 0;
};
}  // namespace kvlab
#endif

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// Terms added in f32 before the sum moves to f64. Small enough that the rounding stays near 1e-7.
constexpr size_t kChunk = 1024;

// Stands for "no logit": its exp is 0 next to any logit, and differences of two are finite.
constexpr float kNoLogit = -1e30f;

HWY_INLINE VF load_logits(DF d, const float* x, size_t n) {
  HWY_ALIGN float lanes[hn::MaxLanes(DF())];
  hn::Store(hn::Set(d, kNoLogit), d, lanes);
  std::memcpy(lanes, x, n * sizeof(float));
  return hn::Load(d, lanes);
}

HWY_INLINE double sum_of(DF d, VF a, VF b) {
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
}

// exp(x - max) for x <= max. exp_clamped stops at exp(-86), which must not count for absent or hopeless
// logits.
HWY_INLINE VF term(DF d, VF x, VF max) {
  const VF shifted = hn::Sub(x, max);
  return hn::IfThenZeroElse(hn::Lt(shifted, hn::Set(d, -86.0f)), exp_clamped(d, shifted));
}

float SlabMax(const float* x, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF m0 = hn::Set(d, kNoLogit), m1 = m0;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  if (i < n) m1 = hn::Max(m1, load_logits(d, x + i, n - i));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
}

// The lowest index with x[i] == value; n when there is none.
size_t FirstEqual(const float* x, size_t n, float value) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF wanted = hn::Set(d, value);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const intptr_t lane = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, x + i), wanted));
    if (lane >= 0) return i + static_cast<size_t>(lane);
  }
  while (i < n && x[i] != value) ++i;
  return i;
}

double ExpSumChunk(const float* x, size_t n, float max) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF top = hn::Set(d, max);
  VF s0 = hn::Zero(d), s1 = s0;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = hn::Add(s0, term(d, hn::LoadU(d, x + i), top));
    s1 = hn::Add(s1, term(d, hn::LoadU(d, x + i + lanes), top));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, term(d, hn::LoadU(d, x + i), top));
  if (i < n) s1 = hn::Add(s1, term(d, load_logits(d, x + i, n - i), top));
  return sum_of(d, s0, s1);
}

double ExpSum(const float* x, size_t n, float max) {
  double sum = 0;
  for (size_t i = 0; i < n; i += kChunk) sum += ExpSumChunk(x + i, HWY_MIN(kChunk, n - i), max);
  return sum;
}

struct PairAccumulator {
  VF base, own, weighted;
};

HWY_INLINE void accumulate(DF d, VF b, VF o, VF base_top, VF own_top, PairAccumulator& a) {
  const VF p = term(d, b, base_top);
  a.base = hn::Add(a.base, p);
  a.own = hn::Add(a.own, term(d, o, own_top));
  a.weighted = hn::MulAdd(p, hn::Sub(b, o), a.weighted);
}

void PairSumChunk(const float* base, const float* own, size_t n, float base_max, float own_max,
                  PairSums& sums) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF base_top = hn::Set(d, base_max), own_top = hn::Set(d, own_max), zero = hn::Zero(d);
  PairAccumulator a = {zero, zero, zero}, c = a;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    accumulate(d, hn::LoadU(d, base + i), hn::LoadU(d, own + i), base_top, own_top, a);
    accumulate(d, hn::LoadU(d, base + i + lanes), hn::LoadU(d, own + i + lanes), base_top, own_top, c);
  }
  for (; i + lanes <= n; i += lanes) {
    accumulate(d, hn::LoadU(d, base + i), hn::LoadU(d, own + i), base_top, own_top, a);
  }
  if (i < n) {
    accumulate(d, load_logits(d, base + i, n - i), load_logits(d, own + i, n - i), base_top, own_top, c);
  }
  sums.base += sum_of(d, a.base, c.base);
  sums.own += sum_of(d, a.own, c.own);
  sums.weighted += sum_of(d, a.weighted, c.weighted);
}

PairSums PairSum(const float* base, const float* own, size_t n, float base_max, float own_max) {
  PairSums sums;
  for (size_t i = 0; i < n; i += kChunk) {
    PairSumChunk(base + i, own + i, HWY_MIN(kChunk, n - i), base_max, own_max, sums);
  }
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(SlabMax);
HWY_EXPORT(FirstEqual);
HWY_EXPORT(ExpSum);
HWY_EXPORT(PairSum);

namespace {

// Takes everything of a slab but its sum. Returns the factor by which sums so far must shrink.
double take_max_and_target(HeadState& state, const float* logits, int32_t first, int n, int32_t target) {
  if (target >= first && target < first + n) state.target_logit = logits[target - first];
  const float slab_max = HWY_DYNAMIC_DISPATCH(SlabMax)(logits, static_cast<size_t>(n));
  if (slab_max < state.max) return 1.0;
  // Few slabs hold a new maximum, so looking for its place costs little. On ties the lower index wins,
  // whatever the order of the slabs.
  const size_t place = HWY_DYNAMIC_DISPATCH(FirstEqual)(logits, static_cast<size_t>(n), slab_max);
  const int32_t index = place < static_cast<size_t>(n) ? first + static_cast<int32_t>(place) : -1;
  if (slab_max > state.max || state.argmax < 0 || (index >= 0 && index < state.argmax)) state.argmax = index;
  const double factor = std::exp(double{state.max} - double{slab_max});
  state.max = slab_max;
  return factor;
}

double log_sum_exp(const HeadState& state) {
  return std::log(state.sum) + double{state.max};
}

}  // namespace

Maximum first_maximum(const float* x, int n) {
  const float top = HWY_DYNAMIC_DISPATCH(SlabMax)(x, static_cast<size_t>(n));
  const size_t place = HWY_DYNAMIC_DISPATCH(FirstEqual)(x, static_cast<size_t>(n), top);
  return place < static_cast<size_t>(n) ? Maximum{top, static_cast<int32_t>(place)} : Maximum{};
}

void head_update(HeadState& state, const float* logits, int32_t first, int n, int32_t target) {
  if (n <= 0) return;
  state.sum *= take_max_and_target(state, logits, first, n, target);
  state.sum += HWY_DYNAMIC_DISPATCH(ExpSum)(logits, static_cast<size_t>(n), state.max);
}

void pair_update(PairState& state, const float* base, const float* own, int32_t first, int n,
                 int32_t target) {
  if (n <= 0) return;
  const double base_factor = take_max_and_target(state.base, base, first, n, target);
  const double own_factor = take_max_and_target(state.own, own, first, n, target);
  const PairSums sums =
      HWY_DYNAMIC_DISPATCH(PairSum)(base, own, static_cast<size_t>(n), state.base.max, state.own.max);
  state.base.sum = state.base.sum * base_factor + sums.base;
  state.own.sum = state.own.sum * own_factor + sums.own;
  // Terms are b - o without the maxima, so a new maximum only rescales.
  state.weighted = state.weighted * base_factor + sums.weighted;
}

double head_nll(const HeadState& state) {
  return log_sum_exp(state) - double{state.target_logit};
}

double pair_kl(const PairState& state) {
  const double kl = state.weighted / state.base.sum - log_sum_exp(state.base) + log_sum_exp(state.own);
  return kl < 0 ? 0 : kl;  // NaN passes
}

}  // namespace kvlab
#endif  // HWY_ONCE
