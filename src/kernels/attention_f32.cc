// lifetime_attention in float on every Highway target; bfloat16 keys and values are converted while they are
// packed.
//
// Packed forms, with W = kPanel columns: Q [strip][head_dim][6], times scale and log2(e); K [columns /
// W][head_dim][W]; V [head_dim / W][columns][W]. Then both products are the same micro-kernel: 6 rows times
// up to W columns, one broadcast of A and one row of a panel of B per step. Scores of a strip lie in
// [6][kGroupEntries], which is cached.
#include "kernels/simd_targets.h"
//
#include <algorithm>
#include <cstring>

#include "kernels/attention_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_f32.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

#include "kernels/attention_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names

// Vectors per panel: with 32 registers 6 x 4 sums fit, with 16 registers 6 x 2.
constexpr int kVectors = kLanes >= 16 ? 4 : 2;
constexpr int kPanel = kVectors * kLanes;
static_assert(kUnit % kLanes == 0 && (kPanel % kUnit == 0 || kUnit % kPanel == 0));

size_t q_floats(int strips, int head_dim) {
  return static_cast<size_t>(strips) * kStripRows * head_dim;
}

size_t kv_floats(int head_dim) {
  const int padded = (head_dim + kPanel - 1) / kPanel * kPanel;
  return static_cast<size_t>(kGroupEntries) * padded;
}

// c[6][kN vectors] = (kAdd ? diag(alpha) c : 0) + A b, where A's row r at step t is a[r * kRow + t * kStep]
// and b's row t is kPanel long. The sums are an array with constant indices only, so that the compiler keeps
// it in registers.
template <int kN, int kRow, int kStep, bool kAdd>
HWY_NOINLINE void multiply(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int steps,
                           float* HWY_RESTRICT c, int64_t c_stride, const float* HWY_RESTRICT alpha) {
  const DF d;
  VF sums[kStripRows][kN];
#pragma GCC unroll 6
  for (int r = 0; r < kStripRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n)
      sums[r][n] =
          kAdd ? hn::Mul(hn::Load(d, c + r * c_stride + n * kLanes), hn::Set(d, alpha[r])) : hn::Zero(d);
  for (int t = 0; t < steps; ++t) {
    VF row[kN];
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) row[n] = hn::Load(d, b + n * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kStripRows; ++r) {
      const VF x = hn::Set(d, a[r * kRow]);
#pragma GCC unroll 4
      for (int n = 0; n < kN; ++n) sums[r][n] = hn::MulAdd(x, row[n], sums[r][n]);
    }
    a += kStep;
    b += kPanel;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kStripRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kN; ++n) hn::Store(sums[r][n], d, c + r * c_stride + n * kLanes);
}

template <int kRow, int kStep, bool kAdd>
void multiply_any(int vectors, const float* a, const float* b, int steps, float* c, int64_t c_stride,
                  const float* alpha) {
  switch (vectors) {
    case 1:
      return multiply<1, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    case 2:
      return multiply<2, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    case 3:
      return multiply<std::min(3, kVectors), kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
    default:
      return multiply<kVectors, kRow, kStep, kAdd>(a, b, steps, c, c_stride, alpha);
  }
}

void pack_queries(const BlockState& state) {
  const QueryBlock& block = state.block;
  const float scale = block.scale * kLog2E;
  for (int row = 0; row < state.strips * kStripRows; ++row) {
    float* out =
        state.q + static_cast<size_t>(row / kStripRows) * kStripRows * block.head_dim + row % kStripRows;
    if (row >= state.rows) {
      for (int i = 0; i < block.head_dim; ++i) out[i * kStripRows] = 0.0f;
      continue;
    }
    const float* in = block.q + (row / block.group) * block.q_row + (row % block.group) * block.q_head;
    for (int i = 0; i < block.head_dim; ++i) out[i * kStripRows] = in[i] * scale;
  }
}

// `D` lanes of a row of storage as floats.
template <class D>
HWY_INLINE hn::Vec<D> load_row(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> load_row(D d, const hwy::bfloat16_t* from) {
  const hn::Rebind<hwy::bfloat16_t, D> narrow;
  return hn::PromoteTo(d, hn::LoadU(narrow, from));
}

// Four candidates from `rows` become four neighbouring columns of a panel.
#if HWY_TARGET == HWY_SCALAR
template <typename T>
HWY_INLINE void pack_four_keys(const T* const* rows, int head_dim, float* out) {
  const DF d;
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < head_dim; ++i)
      hn::StoreU(load_row(d, rows[c] + i), d, out + c / kPanel * kPanel * head_dim + i * kPanel + c % kPanel);
}
#else
template <typename T>
HWY_INLINE void pack_four_keys(const T* const* rows, int head_dim, float* out) {
  const hn::FixedTag<float, 4> d;
  for (int i = 0; i < head_dim; i += 4) {
    const auto r0 = load_row(d, rows[0] + i), r1 = load_row(d, rows[1] + i);
    const auto r2 = load_row(d, rows[2] + i), r3 = load_row(d, rows[3] + i);
    const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3);
    const auto even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
    hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, out + (i + 0) * kPanel);
    hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, out + (i + 1) * kPanel);
    hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, out + (i + 2) * kPanel);
    hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, out + (i + 3) * kPanel);
  }
}
#endif

template <typename T>
void pack_keys(const BlockState& state, const Group& group) {
  const int head_dim = state.block.head_dim;
  for (int c = 0; c < group.padded; c += 4) {
    const T* rows[4];
    for (int i = 0; i < 4; ++i) rows[i] = static_cast<const T*>(group.k[c + i]);
    pack_four_keys(rows, head_dim,
                   state.k + static_cast<size_t>(c / kPanel) * kPanel * head_dim + c % kPanel);
  }
}

template <typename T>
void pack_values(const BlockState& state, const Group& group) {
  const DF d;
  const hn::CappedTag<float, 4> d4;
  const int head_dim = state.block.head_dim, whole = head_dim / kLanes * kLanes;
  for (int c = 0; c < group.padded; ++c) {
    const T* in = static_cast<const T*>(group.v[c]);
    const auto out = [&](int i) {
      return state.v + (static_cast<size_t>(i / kPanel) * kGroupEntries + c) * kPanel + i % kPanel;
    };
    for (int i = 0; i < whole; i += kLanes) hn::StoreU(load_row(d, in + i), d, out(i));
    if (whole == head_dim) continue;
    hn::StoreU(hn::Zero(d), d, out(whole));
    for (int i = whole; i < head_dim; i += static_cast<int>(hn::Lanes(d4)))
      hn::StoreU(load_row(d4, in + i), d4, out(i));
  }
}

void pack_entries(const BlockState& state, const Group& group) {
  if (state.type == DType::kF32) {
    pack_keys<float>(state, group);
    pack_values<float>(state, group);
  } else {
    pack_keys<hwy::bfloat16_t>(state, group);
    pack_values<hwy::bfloat16_t>(state, group);
  }
}

void score_strip(const BlockState& state, int strip, int begin, int end) {
  const int head_dim = state.block.head_dim;
  const float* q = state.q + static_cast<size_t>(strip) * kStripRows * head_dim;
  for (int column = begin; column < end;) {
    const int inside = column % kPanel, width = std::min(kPanel - inside, end - column);
    const float* k = state.k + static_cast<size_t>(column / kPanel) * kPanel * head_dim + inside;
    multiply_any<1, kStripRows, false>(width / kLanes, q, k, head_dim, state.s + column, kGroupEntries,
                                       nullptr);
    column += width;
  }
}

void mask_unit(const BlockState& state, const Group& group, const int32_t* queries, int unit) {
  const DF d;
  const DI di;
  for (int i = unit * kUnit; i < (unit + 1) * kUnit; i += kLanes) {
    const auto birth = hn::LoadU(di, group.position + i), end = hn::LoadU(di, group.evict + i);
    for (int r = 0; r < kStripRows; ++r) {
      const auto query = hn::Set(di, queries[r]);
      const auto seen = hn::AndNot(hn::Gt(birth, query), hn::Gt(end, query));
      float* s = state.s + r * kGroupEntries + i;
      hn::Store(hn::IfThenElse(hn::RebindMask(d, seen), hn::Load(d, s), hn::Set(d, kMaskedScore)), d, s);
    }
  }
}

// Turns scores into probabilities relative to the new running maximum, adds them to the row's sums, and
// returns the factor by which what was summed before shrinks.
HWY_NOINLINE float softmax_row(float* HWY_RESTRICT s, int begin, int end, float* HWY_RESTRICT max,
                               float* HWY_RESTRICT sum) {
  const DF d;
  VF top = hn::Set(d, *max);
  for (int i = begin; i < end; i += kLanes) top = hn::Max(top, hn::Load(d, s + i));
  top = hn::MaxOfLanes(d, top);
  const VF shrink = exp2_negative(hn::Sub(hn::Set(d, *max), top));
  *max = hn::GetLane(top);
  VF total = hn::Mul(hn::Load(d, sum), shrink);
  for (int i = begin; i < end; i += kLanes) {
    const VF p = exp2_negative(hn::Sub(hn::Load(d, s + i), top));
    total = hn::Add(total, p);
    hn::Store(p, d, s + i);
  }
  hn::Store(total, d, sum);
  return hn::GetLane(shrink);
}

void strip_against_group(const BlockState& state, const Group& group, int strip, UnitRange units) {
  const int row = strip * kStripRows, begin = units.begin * kUnit, end = units.end * kUnit;
  const int32_t* queries = state.row_query + row;
  score_strip(state, strip, begin, end);
  for (int unit = units.begin; unit < units.end; ++unit)
    if (unit_needs_mask(group, unit, queries[0], queries[kStripRows - 1]))
      mask_unit(state, group, queries, unit);
  float shrink[kStripRows];
  for (int r = 0; r < kStripRows; ++r)
    shrink[r] = softmax_row(state.s + r * kGroupEntries, begin, end, state.max + row + r,
                            state.sum + static_cast<size_t>(row + r) * kUnit);
  const int width = state.block.head_dim;
  for (int column = 0; column < width; column += kPanel) {
    const int vectors = (std::min(width - column, kPanel) + kLanes - 1) / kLanes;
    const float* v = state.v + (static_cast<size_t>(column / kPanel) * kGroupEntries + begin) * kPanel;
    float* out = state.out + static_cast<size_t>(row) * state.out_stride + column;
    multiply_any<kGroupEntries, 1, true>(vectors, state.s + begin, v, end - begin, out, state.out_stride,
                                         shrink);
  }
}

const BlockKernel* kernel() {
  static constexpr BlockKernel kKernel = {q_floats, kv_floats, pack_queries, pack_entries,
                                          strip_against_group};
  return &kKernel;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(kernel);
const BlockKernel& block_kernel_f32() {
  return *HWY_DYNAMIC_DISPATCH(kernel)();
}
}  // namespace kvlab
#endif
