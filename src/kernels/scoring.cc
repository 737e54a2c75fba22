#include "kernels/scoring.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scoring.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>
#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

float Dot(const float* x, const float* y, int n) {
  const DF d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  VF a = hn::Zero(d), b = a;
  int i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    a = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), a);
    b = hn::MulAdd(hn::LoadU(d, x + i + lanes), hn::LoadU(d, y + i + lanes), b);
  }
  for (; i + lanes <= n; i += lanes) a = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), a);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

void Dots(const float* x, const float* rows, int64_t count, int n, float* out) {
  for (int64_t r = 0; r < count; ++r) out[r] = Dot(x, rows + r * n, n);
}

// exp(x - max), summed; the caller divides. Entries that do not take part are far below and become 0 later.
float ExpSum(float* x, int64_t n, float max) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF top = hn::Set(d, max);
  VF sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF value = hn::LoadU(d, x + i);
    const VF e = hn::IfThenElseZero(hn::Gt(value, hn::Set(d, -1e29f)), exp_clamped(d, hn::Sub(value, top)));
    hn::StoreU(e, d, x + i);
    sum = hn::Add(sum, e);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) {
    x[i] = x[i] > -1e29f ? std::exp(std::max(x[i] - max, -86.0f)) : 0.0f;
    total += x[i];
  }
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {

HWY_EXPORT(Dots);
HWY_EXPORT(ExpSum);

void dots(const float* x, const float* rows, int64_t count, int n, float* out) {
  HWY_DYNAMIC_DISPATCH(Dots)(x, rows, count, n, out);
}

void masked_softmax(float* x, int64_t n) {
  float max = -1e30f;
  for (int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
  const float sum = HWY_DYNAMIC_DISPATCH(ExpSum)(x, n, max);
  if (sum <= 0) return;  // nothing takes part
  for (int64_t i = 0; i < n; ++i) x[i] /= sum;
}

namespace reference {

void dots(const float* x, const float* rows, int64_t count, int n, float* out) {
  for (int64_t r = 0; r < count; ++r) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * rows[r * n + i];
    out[r] = static_cast<float>(sum);
  }
}

void masked_softmax(float* x, int64_t n) {
  double max = -1e30, sum = 0;
  for (int64_t i = 0; i < n; ++i) max = std::max<double>(max, x[i]);
  std::vector<double> e(n);
  for (int64_t i = 0; i < n; ++i) sum += e[i] = x[i] > -1e29f ? std::exp(x[i] - max) : 0.0;
  for (int64_t i = 0; i < n && sum > 0; ++i) x[i] = static_cast<float>(e[i] / sum);
}

}  // namespace reference
}  // namespace kvlab
#endif  // HWY_ONCE
