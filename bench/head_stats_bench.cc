// One thread's statistics of the output head, without its matrix product: a vocabulary's logits, slab by
// slab, as losses (head_update) and as the distance of two runs (pair_update) need them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/elementwise.h"

namespace kvlab {
namespace {

constexpr int kVocabulary = 49152;

// Between -8 and 8, which is what a model's logits look like.
std::vector<float> some_logits(uint64_t seed) {
  std::vector<float> x(kVocabulary);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 16 * entry_uniform(seed, 0, 0, 0, i) - 8;
  return x;
}

void report(benchmark::State& state, int streams) {
  state.counters["logits/s"] = benchmark::Counter(static_cast<double>(kVocabulary) * streams,
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

// Argument: logits per slab.
void BM_HeadUpdate(benchmark::State& state) {
  const int slab = static_cast<int>(state.range(0));
  const std::vector<float> x = some_logits(1);
  for (auto _ : state) {
    HeadState head;
    for (int first = 0; first < kVocabulary; first += slab)
      head_update(head, x.data() + first, first, std::min(slab, kVocabulary - first), kVocabulary / 2);
    benchmark::DoNotOptimize(head_nll(head));
  }
  report(state, 1);
}
BENCHMARK(BM_HeadUpdate)->ArgName("slab")->Arg(512)->Arg(2048)->Arg(8192)->Arg(kVocabulary);

// Argument: logits per slab.
void BM_PairUpdate(benchmark::State& state) {
  const int slab = static_cast<int>(state.range(0));
  const std::vector<float> base = some_logits(1), own = some_logits(2);
  for (auto _ : state) {
    PairState pair;
    for (int first = 0; first < kVocabulary; first += slab)
      pair_update(pair, base.data() + first, own.data() + first, first, std::min(slab, kVocabulary - first),
                  -1);
    benchmark::DoNotOptimize(pair_kl(pair));
  }
  report(state, 2);
}
BENCHMARK(BM_PairUpdate)->ArgName("slab")->Arg(512)->Arg(2048)->Arg(8192)->Arg(kVocabulary);

}  // namespace
}  // namespace kvlab
