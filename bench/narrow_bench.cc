// Decoding's linear layers on one thread, in bytes of packed weights per second, beside a plain read of the
// same bytes. The matrices of a run are many copies, more than the caches hold, used in turn, as a model's
// layers are.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "kernels/narrow_gemm.h"
#include "kernels/quantised_gemv.h"

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

// Arguments: out, in, type (0 q4_0, 1 q4_1, 2 q8_0), rows. "bf16 GB/s" is what bf16 weights would need for
// the same time.
void BM_Quantised(benchmark::State& state) {
  const int out = state.range(0), in = state.range(1), rows = state.range(3);
  const auto type = static_cast<QuantisedType>(state.range(2));
  std::vector<QuantisedMatrix> matrices;
  size_t bytes = 0;
  while (bytes < kWorkingSet) bytes += matrices.emplace_back(type, out, in).bytes();
  QuantisedInput x;
  prepare_quantised(in, values(size_t(rows) * in).data(), in, rows, x);
  std::vector<float> y(size_t(rows) * out);
  size_t next = 0;
  for (auto _ : state) {
    quantised_linear(matrices[next], x, 0, matrices[next].groups(), y.data(), out, false);
    next = (next + 1) % matrices.size();
  }
  report(state, matrices[0].bytes());
  state.counters["bf16 GB/s"] =
      benchmark::Counter(2e-9 * out * in, benchmark::Counter::kIsIterationInvariantRate);
}

using Line = uint64_t __attribute__((vector_size(64)));  // GCC's and clang's

// With the widest loads there are: narrower ones do not reach the memory's speed. Four sums, so that
// additions are not what takes the time.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
read_all(const void* data, size_t bytes) {
  const Line* from = static_cast<const Line*>(data);
  Line s0 = {}, s1 = {}, s2 = {}, s3 = {};
  for (const Line* end = from + bytes / sizeof(Line) / 4 * 4; from < end; from += 4) {
    s0 += from[0];
    s1 += from[1];
    s2 += from[2];
    s3 += from[3];
  }
  const Line all = s0 + s1 + s2 + s3;
  return all[0] + all[7];
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
void shapes(benchmark::internal::Benchmark* bench, const std::vector<int64_t>& types,
            const std::vector<int64_t>& rows) {
  constexpr int64_t kShapes[][2] = {{960, 576},  {576, 576},  {3072, 576},
                                    {576, 1536}, {2048, 576}, {6144, 4096}};
  for (const auto& [out, in] : kShapes)
    for (const int64_t type : types)
      for (const int64_t r : rows) bench->Args({out, in, type, r});
}

BENCHMARK(BM_Narrow)->ArgNames({"out", "in", "bf16", "rows"})->Apply([](auto* bench) {
  shapes(bench, {1, 0}, {1, 2, 4, 8, 16});
});
BENCHMARK(BM_StreamingRead)->ArgNames({"out", "in", "bf16", "rows"})->Apply([](auto* bench) {
  shapes(bench, {1, 0}, {1});
});
BENCHMARK(BM_Quantised)->ArgNames({"out", "in", "type", "rows"})->Apply([](auto* bench) {
  shapes(bench, {0, 1, 2}, {1, 2, 4});
});

}  // namespace
}  // namespace kvlab
