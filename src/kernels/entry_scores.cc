// The functions of entry_scores.h on every Highway target.
#include "kernels/simd_targets.h"
//
#include <algorithm>
#include <limits>

#include "kernels/entry_scores.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/entry_scores.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

template <class D>
void add_weights_from(D d, const float* HWY_RESTRICT weights, int64_t stride, int group, int begin, int end,
                      float scale, float* HWY_RESTRICT sums) {
  for (int i = begin; i < end; i += static_cast<int>(hn::Lanes(d))) {
    auto sum = hn::LoadU(d, weights + i);
    for (int g = 1; g < group; ++g) sum = hn::Add(sum, hn::LoadU(d, weights + g * stride + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, scale), sum, hn::LoadU(d, sums + i)), d, sums + i);
  }
}

void add_weights_simd(const float* weights, int64_t stride, int group, int n, float scale, float* sums) {
  const int whole = n / kLanes * kLanes;
  add_weights_from(DF(), weights, stride, group, 0, whole, scale, sums);
  add_weights_from(hn::CappedTag<float, 1>(), weights, stride, group, whole, n, scale, sums);
}

struct Best {
  float score = std::numeric_limits<float>::infinity();
  int32_t position = std::numeric_limits<int32_t>::max(), slot = -1;

  void take(float other_score, int32_t other_position, int32_t other_slot) {
    if (!(other_score < score || (other_score == score && other_position < position))) return;
    score = other_score;
    position = other_position;
    slot = other_slot;
  }
};

// Over slots with first <= position <= last. NaNs compare false and are never taken.
LeastEntry least_number(const float* HWY_RESTRICT scores, const int32_t* HWY_RESTRICT positions, int n,
                        int32_t first, int32_t last) {
  const DF d;
  const DI di;
  const auto v_first = hn::Set(di, first), v_last = hn::Set(di, last);
  Best best;
  VF score = hn::Set(d, best.score);
  auto position = hn::Set(di, best.position), slot = hn::Set(di, -1), here = hn::Iota(di, 0);
  auto open = hn::Zero(di);  // counts down
  const int whole = n / kLanes * kLanes;
  for (int i = 0; i < whole; i += kLanes) {
    const VF s = hn::LoadU(d, scores + i);
    const auto p = hn::LoadU(di, positions + i);
    const auto is_open = hn::VecFromMask(di, hn::Not(hn::Or(hn::Gt(v_first, p), hn::Gt(p, v_last))));
    const auto less = hn::VecFromMask(di, hn::RebindMask(di, hn::Lt(s, score)));
    const auto equal = hn::VecFromMask(di, hn::RebindMask(di, hn::Eq(s, score)));
    const auto earlier = hn::VecFromMask(di, hn::Lt(p, position));
    const auto better = hn::MaskFromVec(hn::And(is_open, hn::Or(less, hn::And(equal, earlier))));
    open = hn::Add(open, is_open);
    score = hn::IfThenElse(hn::RebindMask(d, better), s, score);
    position = hn::IfThenElse(better, p, position);
    slot = hn::IfThenElse(better, here, slot);
    here = hn::Add(here, hn::Set(di, kLanes));
  }
  alignas(64) float lane_score[kLanes];
  alignas(64) int32_t lane_position[kLanes], lane_slot[kLanes], lane_open[kLanes];
  hn::Store(score, d, lane_score);
  hn::Store(position, di, lane_position);
  hn::Store(slot, di, lane_slot);
  hn::Store(open, di, lane_open);
  int32_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    total -= lane_open[lane];
    best.take(lane_score[lane], lane_position[lane], lane_slot[lane]);
  }
  for (int i = whole; i < n; ++i) {
    if (positions[i] < first || positions[i] > last) continue;
    ++total;
    best.take(scores[i], positions[i], i);
  }
  return {best.slot, total};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(add_weights_simd);
HWY_EXPORT(least_number);

void add_weights(const float* weights, int64_t stride, int group, int n, float scale, float* sums) {
  HWY_DYNAMIC_DISPATCH(add_weights_simd)(weights, stride, group, n, scale, sums);
}

LeastEntry least_open(const float* scores, const int32_t* positions, int n, int64_t sinks,
                      int64_t window_start) {
  if (window_start <= sinks) return {-1, 0};
  constexpr int64_t kLeast = std::numeric_limits<int32_t>::min(), kMost = std::numeric_limits<int32_t>::max();
  const auto first = static_cast<int32_t>(std::clamp(sinks, kLeast, kMost));
  const auto last = static_cast<int32_t>(std::clamp(window_start - 1, kLeast, kMost));
  const LeastEntry least = HWY_DYNAMIC_DISPATCH(least_number)(scores, positions, n, first, last);
  // Only NaNs: rare, and nothing depends on its speed.
  if (least.slot < 0 && least.open > 0)
    return least_open_reference(scores, positions, n, sinks, window_start);
  return least;
}
}  // namespace kvlab
#endif
