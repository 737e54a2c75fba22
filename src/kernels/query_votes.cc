// Queries go in strips of two vectors, a query a lane: the keys' scores are a blocked product, and maxima and
// sums of a query's softmax stay in its lane. A strip's scores stay in the second-level cache.
#include "kernels/query_votes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/page_kernels.h"
#include "kernels/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/query_votes.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/key_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

constexpr int64_t kSumBlock = 128;  // terms of a softmax's sum that are added up before they join the others

// The queries of a strip, a query a lane. Lanes without a query see no key.
struct Strip {
  HWY_ALIGN int32_t visible[kPanelLanes];
  int32_t visible_to_all;
  float* panel;   // [head_dim][kPanelLanes]: the queries, scaled to scores in units of log 2
  float* scores;  // [keys][kPanelLanes], then their exponentials
};

void pack_queries(const VotingQueries& queries, int first, int head_dim, float scale, Strip& strip) {
  const int count = std::min(kPanelLanes, queries.count - first);
  std::fill_n(strip.visible, kPanelLanes, 0);
  std::copy_n(queries.visible + first, count, strip.visible);
  strip.visible_to_all = *std::min_element(strip.visible, strip.visible + kPanelLanes);
  std::fill_n(strip.panel, head_dim * kPanelLanes, 0.0f);
  for (int i = 0; i < count; ++i) {
    const float* q = queries.q + static_cast<int64_t>(first + i) * head_dim;
    for (int c = 0; c < head_dim; ++c) strip.panel[c * kPanelLanes + i] = q[c] * (scale * kLog2E);
  }
}

// Scores of the keys [first, first + kRows); top: each query's highest so far.
template <int kRows>
HWY_INLINE void score_tile(const Strip& strip, const float* k, int64_t first, int head_dim, VF (&top)[2]) {
  const DF d;
  const DI di;
  VF sums[kRows][2];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  multiply_tile<kRows>(k + first * head_dim, head_dim, strip.panel, 0, head_dim, sums);
  if (first + kRows > strip.visible_to_all) {
    const auto seen0 = hn::Load(di, strip.visible), seen1 = hn::Load(di, strip.visible + kLanes);
    const VF masked = hn::Set(d, kMaskedScore);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const auto key = hn::Set(di, static_cast<int32_t>(first + r));
      sums[r][0] = hn::IfThenElse(hn::RebindMask(d, hn::Gt(seen0, key)), sums[r][0], masked);
      sums[r][1] = hn::IfThenElse(hn::RebindMask(d, hn::Gt(seen1, key)), sums[r][1], masked);
    }
  }
  float* out = strip.scores + first * kPanelLanes;
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r, out += kPanelLanes) {
    top[0] = hn::Max(top[0], sums[r][0]);
    top[1] = hn::Max(top[1], sums[r][1]);
    hn::Store(sums[r][0], d, out);
    hn::Store(sums[r][1], d, out + kLanes);
  }
}

void score_keys(const Strip& strip, const float* k, int64_t keys, int head_dim, VF (&top)[2]) {
  if (keys < kTileRows) {
    for (int64_t first = 0; first < keys; ++first) score_tile<1>(strip, k, first, head_dim, top);
    return;
  }
  // The last tile is moved back into the one before it, which changes nothing that was written.
  for (int64_t first = 0; first < keys; first += kTileRows)
    score_tile<kTileRows>(strip, k, std::min(first, keys - kTileRows), head_dim, top);
}

// Scores become their exponentials; inverse: one over each query's sum of them, 0 where it sees no key.
void exponentiate(const Strip& strip, int64_t keys, const VF (&top)[2], VF (&inverse)[2]) {
  const DF d;
  VF total[2] = {hn::Zero(d), hn::Zero(d)};
  for (int64_t begin = 0; begin < keys; begin += kSumBlock) {
    VF sum[2] = {hn::Zero(d), hn::Zero(d)};
    float* s = strip.scores + begin * kPanelLanes;
    for (int64_t i = begin; i < std::min(keys, begin + kSumBlock); ++i, s += kPanelLanes) {
      const VF e0 = exp2_negative(hn::Sub(hn::Load(d, s), top[0]));
      const VF e1 = exp2_negative(hn::Sub(hn::Load(d, s + kLanes), top[1]));
      hn::Store(e0, d, s);
      hn::Store(e1, d, s + kLanes);
      sum[0] = hn::Add(sum[0], e0);
      sum[1] = hn::Add(sum[1], e1);
    }
    total[0] = hn::Add(total[0], sum[0]);
    total[1] = hn::Add(total[1], sum[1]);
  }
  for (int half = 0; half < 2; ++half) {
    inverse[half] =
        hn::IfThenElseZero(hn::Gt(total[half], hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), total[half]));
  }
}

void add_votes(const Strip& strip, int64_t voted, const VF (&inverse)[2], double* votes) {
  const DF d;
  const float* e = strip.scores;
  for (int64_t i = 0; i < voted; ++i, e += kPanelLanes) {
    const VF sum = hn::MulAdd(hn::Load(d, e), inverse[0], hn::Mul(hn::Load(d, e + kLanes), inverse[1]));
    votes[i] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
}

void QueryVotes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                int64_t voted, Buffer<float>& scratch, double* votes) {
  const DF d;
  scratch.reserve_discard(static_cast<size_t>(head_dim + keys) * kPanelLanes);
  Strip strip;
  strip.panel = scratch.data();
  strip.scores = strip.panel + head_dim * kPanelLanes;
  std::fill_n(votes, voted, 0.0);
  for (int first = 0; first < queries.count; first += kPanelLanes) {
    pack_queries(queries, first, head_dim, scale, strip);
    VF top[2] = {hn::Set(d, kStartMax), hn::Set(d, kStartMax)}, inverse[2];
    score_keys(strip, k, keys, head_dim, top);
    exponentiate(strip, keys, top, inverse);
    add_votes(strip, voted, inverse, votes);
  }
}

// `factors`: what each query's exponentials are multiplied with.
void raise_peaks(const Strip& strip, int64_t first, int64_t last, const VF (&factors)[2], float* peaks) {
  const DF d;
  const float* e = strip.scores + first * kPanelLanes;
  for (int64_t i = first; i < last; ++i, e += kPanelLanes, ++peaks) {
    const VF most =
        hn::Max(hn::Mul(hn::Load(d, e), factors[0]), hn::Mul(hn::Load(d, e + kLanes), factors[1]));
    *peaks = std::max(*peaks, hn::GetLane(hn::MaxOfLanes(d, most)));
  }
}

void QueryPeaks(const VotingQueries& queries, const float* weights, const float* k, int head_dim, float scale,
                int64_t first, int64_t last, Buffer<float>& scratch, float* peaks) {
  const DF d;
  for (int begin = 0; begin < queries.count; begin += kPanelLanes) {
    const int count = std::min(kPanelLanes, queries.count - begin);
    const int64_t keys = *std::max_element(queries.visible + begin, queries.visible + begin + count);
    scratch.reserve_discard(static_cast<size_t>(head_dim + keys) * kPanelLanes);
    Strip strip;
    strip.panel = scratch.data();
    strip.scores = strip.panel + head_dim * kPanelLanes;
    pack_queries(queries, begin, head_dim, scale, strip);
    HWY_ALIGN float own[kPanelLanes] = {};
    std::copy_n(weights + begin, count, own);
    VF top[2] = {hn::Set(d, kStartMax), hn::Set(d, kStartMax)}, factors[2];
    score_keys(strip, k, keys, head_dim, top);
    exponentiate(strip, keys, top, factors);
    factors[0] = hn::Mul(factors[0], hn::Load(d, own));
    factors[1] = hn::Mul(factors[1], hn::Load(d, own + kLanes));
    raise_peaks(strip, first, std::min(last, keys), factors, peaks);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(QueryVotes);

void query_votes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                 int64_t voted, Buffer<float>& scratch, double* votes) {
  HWY_DYNAMIC_DISPATCH(QueryVotes)(queries, k, keys, head_dim, scale, voted, scratch, votes);
}

HWY_EXPORT(QueryPeaks);

void query_peaks(const VotingQueries& queries, const float* weights, const float* k, int head_dim,
                 float scale, int64_t first, int64_t last, Buffer<float>& scratch, float* peaks) {
  HWY_DYNAMIC_DISPATCH(QueryPeaks)(queries, weights, k, head_dim, scale, first, last, scratch, peaks);
}

namespace reference {

void query_peaks(const VotingQueries& queries, const float* weights, const float* k, int head_dim,
                 float scale, int64_t first, int64_t last, float* peaks) {
  for (int i = 0; i < queries.count; ++i) {
    const int32_t seen = queries.visible[i];
    std::vector<double> votes(static_cast<size_t>(seen));
    query_votes({queries.q + static_cast<int64_t>(i) * head_dim, &seen, 1}, k, seen, head_dim, scale, seen,
                votes.data());
    for (int64_t j = first; j < std::min<int64_t>(last, seen); ++j)
      peaks[j - first] = std::max(peaks[j - first], static_cast<float>(weights[i] * votes[j]));
  }
}

void query_votes(const VotingQueries& queries, const float* k, int64_t keys, int head_dim, float scale,
                 int64_t voted, double* votes) {
  std::fill_n(votes, voted, 0.0);
  std::vector<double> e(keys);
  for (int i = 0; i < queries.count; ++i) {
    const float* q = queries.q + static_cast<int64_t>(i) * head_dim;
    const int64_t seen = queries.visible[i];
    double top = -1e300, sum = 0;
    for (int64_t j = 0; j < seen; ++j) {
      e[j] = 0;
      for (int c = 0; c < head_dim; ++c) e[j] += static_cast<double>(q[c]) * k[j * head_dim + c];
      top = std::max(top, e[j] *= scale);
    }
    for (int64_t j = 0; j < seen; ++j) sum += e[j] = std::exp(e[j] - top);
    for (int64_t j = 0; j < std::min(seen, voted); ++j) votes[j] += e[j] / sum;
  }
}

}  // namespace reference
}  // namespace kvlab
#endif  // HWY_ONCE
