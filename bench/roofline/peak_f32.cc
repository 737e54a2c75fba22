// Peak of float multiply-adds, and reading of memory, in the widest vectors that the processor has.
#include "bench/roofline/peak_loops.h"

#include "kernels/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/roofline/peak_f32.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab::roofline {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// Enough chains to hide the latency of two pipes, few enough for 16 registers.
constexpr int kChains = 12;

float MultiplyAdd(int64_t steps) {
  const DF d;
  const VF scale = hn::Set(d, 0.999f), add = hn::Set(d, static_cast<float>(steps) * 1e-9f);
  VF sums[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = hn::MulAdd(sums[i], scale, add);
  }
  VF total = hn::Zero(d);
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) total = hn::Add(total, sums[i]);
  return hn::GetLane(hn::SumOfLanes(d, total));
}

int64_t FlopsPerStep() {
  return int64_t{2} * kChains * static_cast<int64_t>(hn::Lanes(DF()));
}

float SumFloats(const float* x, int64_t n) {
  constexpr int kSums = 8;
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sums[kSums];
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) sums[i] = hn::Zero(d);
  for (int64_t at = 0; at < n; at += kSums * lanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kSums; ++i) sums[i] = hn::Add(sums[i], hn::LoadU(d, x + at + i * lanes));
  }
  VF total = hn::Zero(d);
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) total = hn::Add(total, sums[i]);
  return hn::GetLane(hn::SumOfLanes(d, total));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab::roofline
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab::roofline {

HWY_EXPORT(MultiplyAdd);
HWY_EXPORT(FlopsPerStep);
HWY_EXPORT(SumFloats);

float multiply_add_f32(int64_t steps) {
  return HWY_DYNAMIC_DISPATCH(MultiplyAdd)(steps);
}
int64_t flops_per_step_f32() {
  return HWY_DYNAMIC_DISPATCH(FlopsPerStep)();
}
float sum_floats(const float* x, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SumFloats)(x, n);
}

}  // namespace kvlab::roofline
#endif  // HWY_ONCE
