// Decoding's linear layers on one thread, in bytes of packed weights per second, beside a plain read of the
// same bytes. The matrices of a run are many copies, more than the caches hold, used in turn, as a model's
// layers are.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "kernels/narrow_gemm.h"

namespace kvlab {
namespace {

constexpr size_t kWorkingSet = size_t{192} << 20;  // bytes

std::vector<float> values(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i * 2654435761u % 2048) / 1024.0f - 1.0f;
  return v;
}

std::vector<PackedMatrix> copies(int out, int in, DType type) {
  const std::vector<float> weight = values(size_t(out) * in);
  std::vector<PackedMatrix> matrices;
  size_t bytes = 0;
  while (bytes < kWorkingSet) bytes += matrices.emplace_back(weight.data(), out, in, type).bytes();
  return matrices;
}

void report(benchmark::State& state, size_t bytes) {
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// Arguments: out, in, bf16, rows.
void BM_Narrow(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1), rows = state.range(3);
  const DType type = state.range(2) ? DType::kBF16 : DType::kF32;
  const std::vector<PackedMatrix> matrices = copies(out, in, type);
  const int blocks = narrow_blocks(matrices[0]);
  if (blocks == 0) return state.SkipWithError("oneDNN chose a layout without a kernel");
  NarrowInput x;
  prepare_narrow(type, in, values(size_t(rows) * in).data(), in, rows, x);
  std::vector<float> y(size_t(rows) * out);
  size_t next = 0;
  for (auto _ : state) {
    narrow_linear(matrices[next], x, 0, blocks, y.data(), out, false);
    next = (next + 1) % matrices.size();
  }
  report(state, matrices[0].bytes());
}

// With the widest loads there are, and 64 sums: narrower loads do not reach the memory's speed.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
read_all(const void* data, size_t bytes) {
  constexpr size_t kSums = 64;
  const uint64_t* from = static_cast<const uint64_t*>(data);
  uint64_t sums[kSums] = {};
  for (size_t i = 0; i + kSums <= bytes / sizeof(uint64_t); i += kSums) {
    for (size_t s = 0; s < kSums; ++s) sums[s] += from[i + s];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

// Arguments: out, in, bf16.
void BM_StreamingRead(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1);
  const std::vector<PackedMatrix> matrices = copies(out, in, state.range(2) ? DType::kBF16 : DType::kF32);
  if (!matrices[0].column_blocks()) return state.SkipWithError("oneDNN chose a layout without a kernel");
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(read_all(matrices[next].column_blocks()->data, matrices[next].bytes()));
    next = (next + 1) % matrices.size();
  }
  report(state, matrices[0].bytes());
}

// The linear layers of SmolLM2-135M, and one of a model of 8 billion weights.
void shapes(benchmark::internal::Benchmark* bench, const std::vector<int64_t>& rows) {
  constexpr int64_t kShapes[][2] = {{960, 576},  {576, 576},  {3072, 576},
                                    {576, 1536}, {2048, 576}, {6144, 4096}};
  for (const auto& [out, in] : kShapes)
    for (const int64_t bf16 : {1, 0})
      for (const int64_t r : rows) bench->Args({out, in, bf16, r});
}

BENCHMARK(BM_Narrow)->ArgNames({"out", "in", "bf16", "rows"})->Apply([](auto* bench) {
  shapes(bench, {1, 2, 4, 8, 16});
});
BENCHMARK(BM_StreamingRead)->ArgNames({"out", "in", "bf16", "rows"})->Apply([](auto* bench) {
  shapes(bench, {1});
});

}  // namespace
}  // namespace kvlab
