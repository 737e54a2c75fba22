// One query position over the slots of a SlotStore: scores, softmax, weighted sum of values. Heads go in
// parties of up to four, which share every load of K and V; two tiles of keys, or two rows of values, are in
// flight so that there are enough independent sums to hide the latency of multiply-adds.
#include "kernels/simd_targets.h"
//
#include <algorithm>

#include "kernels/attention_attend.h"
#include "kernels/attention_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_attend.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

constexpr int kParty = 4;                 // query heads processed together
constexpr int kPerTile = kTile / kLanes;  // vectors of a tile's row
constexpr int kColumns = 4;               // vectors of a row of V processed together
constexpr int kValueBlock = 64;           // rows of V that stay cached while the parties go over them

HWY_INLINE VF load_stored(const float* from) {
  return hn::LoadU(DF(), from);
}
HWY_INLINE VF load_stored(const hwy::bfloat16_t* from) {
  return hn::PromoteTo(DF(), hn::LoadU(hn::Rebind<hwy::bfloat16_t, DF>(), from));
}

// Scores of kHeads heads for kTiles neighbouring tiles. q: [kHeads][head_dim], already scaled.
template <int kHeads, int kTiles, typename T>
HWY_INLINE void score_tiles(const T* HWY_RESTRICT k, int head_dim, const float* HWY_RESTRICT q,
                            float* HWY_RESTRICT out, int64_t stride) {
  const DF d;
  // Small vectors take a tile in pieces.
  for (int part = 0; part < kPerTile; ++part) {
    VF sums[kHeads][kTiles];
#pragma GCC unroll 4
    for (int g = 0; g < kHeads; ++g)
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) sums[g][t] = hn::Zero(d);
    const T* from = k + part * kLanes;
    for (int i = 0; i < head_dim; ++i, from += kTile) {
      VF key[kTiles];
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) key[t] = load_stored(from + static_cast<size_t>(t) * kTile * head_dim);
#pragma GCC unroll 4
      for (int g = 0; g < kHeads; ++g) {
        const VF x = hn::Set(d, q[g * head_dim + i]);
#pragma GCC unroll 4
        for (int t = 0; t < kTiles; ++t) sums[g][t] = hn::MulAdd(x, key[t], sums[g][t]);
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < kHeads; ++g)
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t)
        hn::StoreU(sums[g][t], d, out + g * stride + t * kTile + part * kLanes);
  }
}

template <int kHeads, typename T>
HWY_NOINLINE void score_all(const SlotView& view, const float* q, float* out, int64_t stride) {
  const T* k = static_cast<const T*>(view.k);
  const int tiles = (view.size + kTile - 1) / kTile;
  const size_t tile_size = static_cast<size_t>(kTile) * view.head_dim;
  int t = 0;
  for (; t + 4 <= tiles; t += 4)
    score_tiles<kHeads, 4>(k + t * tile_size, view.head_dim, q, out + t * kTile, stride);
  for (; t < tiles; ++t) score_tiles<kHeads, 1>(k + t * tile_size, view.head_dim, q, out + t * kTile, stride);
}

// out[kHeads][kN vectors] += sum over slots of weight times value.
template <int kHeads, int kN, typename T>
HWY_NOINLINE void add_values(const T* HWY_RESTRICT v, int64_t v_stride, int slots,
                             const float* HWY_RESTRICT weights, int64_t stride, float* HWY_RESTRICT out,
                             int64_t out_stride) {
  const DF d;
  VF sums[kHeads][kN];
#pragma GCC unroll 4
  for (int g = 0; g < kHeads; ++g)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) sums[g][n] = hn::Load(d, out + g * out_stride + n * kLanes);
  for (int slot = 0; slot < slots; ++slot, v += v_stride) {
    VF value[kN];
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) value[n] = load_stored(v + n * kLanes);
#pragma GCC unroll 4
    for (int g = 0; g < kHeads; ++g) {
      const VF x = hn::Set(d, weights[g * stride + slot]);
#pragma GCC unroll 4
      for (int n = 0; n < kN; ++n) sums[g][n] = hn::MulAdd(x, value[n], sums[g][n]);
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < kHeads; ++g)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) hn::Store(sums[g][n], d, out + g * out_stride + n * kLanes);
}

// All columns of V for a block of slots and a party of heads.
template <int kHeads, typename T>
void add_value_block(const SlotView& view, int first, int slots, const float* weights, int64_t stride,
                     float* out) {
  const T* v = static_cast<const T*>(view.v) + static_cast<size_t>(first) * view.v_stride;
  const float* w = weights + first;
  int column = 0;
  for (; column + kColumns * kLanes <= view.v_stride; column += kColumns * kLanes)
    add_values<kHeads, kColumns>(v + column, view.v_stride, slots, w, stride, out + column, view.v_stride);
  for (; column < view.v_stride; column += kLanes)
    add_values<kHeads, 1>(v + column, view.v_stride, slots, w, stride, out + column, view.v_stride);
}

// Scores in units of log 2 become normalised weights; those past `size` become 0.
void softmax_slots(float* s, int size) {
  const DF d;
  const int padded = (size + kTile - 1) / kTile * kTile;
  for (int i = size; i < padded; ++i) s[i] = kMaskedScore;
  VF top = hn::Set(d, kStartMax);
  for (int i = 0; i < padded; i += kLanes) top = hn::Max(top, hn::LoadU(d, s + i));
  top = hn::MaxOfLanes(d, top);
  VF total = hn::Zero(d);
  for (int i = 0; i < padded; i += kLanes) {
    const VF p = exp2_negative(hn::Sub(hn::LoadU(d, s + i), top));
    total = hn::Add(total, p);
    hn::StoreU(p, d, s + i);
  }
  const VF inverse = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, total));
  for (int i = 0; i < padded; i += kLanes) hn::StoreU(hn::Mul(hn::LoadU(d, s + i), inverse), d, s + i);
}

// Calls the function of as many heads as the party has.
template <typename T>
void score_party(int heads, const SlotView& view, const float* q, float* out, int64_t stride) {
  switch (heads) {
    case 1:
      return score_all<1, T>(view, q, out, stride);
    case 2:
      return score_all<2, T>(view, q, out, stride);
    case 3:
      return score_all<3, T>(view, q, out, stride);
    default:
      return score_all<4, T>(view, q, out, stride);
  }
}
template <typename T>
void value_party(int heads, const SlotView& view, int first, int slots, const float* weights, int64_t stride,
                 float* out) {
  switch (heads) {
    case 1:
      return add_value_block<1, T>(view, first, slots, weights, stride, out);
    case 2:
      return add_value_block<2, T>(view, first, slots, weights, stride, out);
    case 3:
      return add_value_block<3, T>(view, first, slots, weights, stride, out);
    default:
      return add_value_block<4, T>(view, first, slots, weights, stride, out);
  }
}

template <typename T>
void attend_typed(const SlotView& view, const float* q, int group, float* weights, int64_t stride,
                  float* sums) {
  for (int g = 0; g < group; g += kParty)
    score_party<T>(std::min(kParty, group - g), view, q + static_cast<size_t>(g) * view.head_dim,
                   weights + g * stride, stride);
  for (int g = 0; g < group; ++g) softmax_slots(weights + g * stride, view.size);
  for (int first = 0; first < view.size; first += kValueBlock)
    for (int g = 0; g < group; g += kParty)
      value_party<T>(std::min(kParty, group - g), view, first, std::min(kValueBlock, view.size - first),
                     weights + g * stride, stride, sums + static_cast<size_t>(g) * view.v_stride);
}

void attend(const SlotView& view, const float* q, int group, float scale, float* weights, int64_t stride,
            float* out) {
  alignas(64) float scaled[kMaxGroup * kMaxHeadDim];
  alignas(64) float sums[kMaxGroup * kMaxHeadDim];
  for (int i = 0; i < group * view.head_dim; ++i) scaled[i] = q[i] * (scale * kLog2E);
  std::fill_n(sums, group * view.v_stride, 0.0f);
  if (view.type == DType::kF32)
    attend_typed<float>(view, scaled, group, weights, stride, sums);
  else
    attend_typed<hwy::bfloat16_t>(view, scaled, group, weights, stride, sums);
  for (int g = 0; g < group; ++g)
    std::copy_n(sums + static_cast<size_t>(g) * view.v_stride, view.head_dim,
                out + static_cast<size_t>(g) * view.head_dim);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(attend);
void attend_slots(const SlotView& view, const float* q, int group, float scale, float* weights,
                  int64_t stride, float* out) {
  if (view.size > 0) HWY_DYNAMIC_DISPATCH(attend)(view, q, group, scale, weights, stride, out);
}
}  // namespace kvlab
#endif
