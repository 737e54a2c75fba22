// Speed of linear layers: in the hot path (each OpenMP thread has its own rows) and in decoding (all threads
// share one).
#include <benchmark/benchmark.h>
#include <omp.h>

#include <vector>

#include "kernels/gemm.h"

namespace kvlab {
namespace {

std::vector<float> values(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i * 2654435761u % 2048) / 1024.0f - 1.0f;
  return v;
}

void report(benchmark::State& state, double flops) {
  state.counters["GFLOPS"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// Arguments: out, in, rows, bf16, threads. Every thread multiplies its own rows.
void BM_LinearPerThread(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1), rows = state.range(2), threads = state.range(4);
  const DType type = state.range(3) ? DType::kBF16 : DType::kF32;
  const PackedMatrix w(values(size_t(out) * in).data(), out, in, type);
  const std::vector<float> x = values(size_t(rows) * in);
  constexpr int kRepeats = 16;  // so that entering the parallel region does not count
  // A region of one thread is no parallel region to OpenMP, hence two threads, of which one may idle.
  for (auto _ : state) {
#pragma omp parallel num_threads(2)
    if (omp_get_thread_num() < threads) {
      thread_local GemmScratch scratch;
      thread_local std::vector<float> y;
      y.resize(size_t(rows) * out);
      for (int i = 0; i < kRepeats; ++i) linear(w, x.data(), in, rows, y.data(), out, scratch);
    }
  }
  report(state, 2.0 * out * in * rows * threads * kRepeats);
}
BENCHMARK(BM_LinearPerThread)
    ->ArgNames({"out", "in", "rows", "bf16", "threads"})
    ->ArgsProduct({{960, 3072}, {576}, {64}, {0, 1}, {1, 2}})
    ->ArgsProduct({{576}, {1536}, {64}, {0, 1}, {1, 2}})
    ->ArgsProduct({{2048}, {576}, {64}, {0, 1}, {1, 2}})
    ->UseRealTime();

// Arguments: out, in, rows, bf16. All threads share the product.
void BM_LinearShared(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1), rows = state.range(2);
  const DType type = state.range(3) ? DType::kBF16 : DType::kF32;
  const PackedMatrix w(values(size_t(out) * in).data(), out, in, type);
  const std::vector<float> x = values(size_t(rows) * in);
  std::vector<float> y(size_t(rows) * out);
  GemmScratch scratch;
  for (auto _ : state) linear(w, x.data(), in, rows, y.data(), out, scratch);
  report(state, 2.0 * out * in * rows);
  state.counters["GB/s"] =
      benchmark::Counter(w.bytes() * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_LinearShared)
    ->ArgNames({"out", "in", "rows", "bf16"})
    ->ArgsProduct({{3072, 49152}, {576}, {1, 8, 64}, {0, 1}})
    ->UseRealTime();

// Packing is paid once per matrix when a model is loaded.
void BM_Pack(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1);
  const std::vector<float> weight = values(size_t(out) * in);
  for (auto _ : state) PackedMatrix(weight.data(), out, in, state.range(2) ? DType::kBF16 : DType::kF32);
}
BENCHMARK(BM_Pack)
    ->ArgNames({"out", "in", "bf16"})
    ->ArgsProduct({{3072, 49152}, {576}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace kvlab
