// One thread's periodic scoring: what SnapKV and ExpectedAttention compute whenever the budget acts, for one
// KV head of 64 dimensions with a group of 3 query heads. Arguments: live entries, or tokens.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/moments.h"
#include "kernels/normal_logits.h"
#include "kernels/query_votes.h"

namespace kvlab {
namespace {

constexpr int kHeadDim = 64, kGroup = 3, kQueries = 64;

std::vector<float> random_floats(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 2 * entry_uniform(seed, 0, 0, 0, i) - 1;
  return out;
}

// FLOPS: 2 head_dim operations for every query and entry, and nothing else.
void BM_QueryVotes(benchmark::State& state) {
  const int64_t live = state.range(0);
  const auto k = random_floats(live * kHeadDim, 1), q = random_floats(kQueries * kGroup * kHeadDim, 2);
  const std::vector<int32_t> visible(kQueries * kGroup, static_cast<int32_t>(live));
  std::vector<double> votes(live);
  Buffer<float> scratch;
  for (auto _ : state) {
    query_votes({q.data(), visible.data(), kQueries * kGroup}, k.data(), live, kHeadDim, 0.125f,
                live - kQueries, scratch, votes.data());
    benchmark::DoNotOptimize(votes.data());
  }
  state.counters["FLOPS"] =
      benchmark::Counter(2.0 * kHeadDim * kQueries * kGroup * static_cast<double>(live),
                         benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}
BENCHMARK(BM_QueryVotes)->ArgName("live")->Arg(512)->Arg(2048);

// FLOPS: head_dim^2 operations for every entry and query head, which the symmetric form needs.
void BM_NormalLogits(benchmark::State& state) {
  const int64_t live = state.range(0);
  const auto k = random_floats(live * kHeadDim, 1), mean = random_floats(kHeadDim, 2);
  const auto matrix = random_floats(kHeadDim * kHeadDim, 3);
  std::vector<float> out(live);
  for (auto _ : state) {
    for (int g = 0; g < kGroup; ++g)
      normal_logits(mean.data(), matrix.data(), k.data(), live, kHeadDim, out.data());
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["FLOPS"] =
      benchmark::Counter(1.0 * kHeadDim * kHeadDim * kGroup * static_cast<double>(live),
                         benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}
BENCHMARK(BM_NormalLogits)->ArgName("live")->Arg(512)->Arg(2048);

// FLOPS: head_dim^2 operations for every token, those of the lower triangle.
void BM_Moments(benchmark::State& state) {
  const int tokens = static_cast<int>(state.range(0));
  const auto values = random_floats(static_cast<size_t>(tokens) * kHeadDim, 1);
  const std::vector<double> x(values.begin(), values.end());
  std::vector<double> sums(kHeadDim), outer(kHeadDim * kHeadDim);
  for (auto _ : state) {
    add_moments(x.data(), tokens, kHeadDim, sums.data(), outer.data());
    benchmark::DoNotOptimize(outer.data());
  }
  state.counters["FLOPS"] =
      benchmark::Counter(1.0 * kHeadDim * kHeadDim * tokens, benchmark::Counter::kIsIterationInvariantRate,
                         benchmark::Counter::kIs1000);
}
BENCHMARK(BM_Moments)->ArgName("tokens")->Arg(1)->Arg(64);

}  // namespace
}  // namespace kvlab
