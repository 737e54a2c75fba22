// What saving a comparison costs while it runs: 2000 synthetic documents of 512 scored tokens under 16 runs,
// written as on the way (sums only) and as at the end (intervals, percentiles).
#include <benchmark/benchmark.h>

#include <filesystem>

#include "base/random.h"
#include "results/comparison_json.h"

namespace kvlab {
namespace {

constexpr int kDocuments = 2000, kRuns = 16;
constexpr int64_t kTokens = 512;

double uniform(uint64_t key) {
  return static_cast<double>(mix64(key) >> 11) / 9007199254740992.0;
}

DocumentResult synthetic_document(int index, uint64_t run) {
  DocumentResult document;
  document.index = index;
  document.id = "doc " + std::to_string(index);
  document.tokens = kTokens + 1;
  document.tokens_scored = kTokens;
  for (int64_t block = 0; block < kTokens / kBlockTokens; ++block) {
    const uint64_t key = mix64(run ^ mix64(static_cast<uint64_t>(index * 100 + block)));
    document.block_tokens.push_back(kBlockTokens);
    document.nll_blocks.push_back(kBlockTokens * (3 + uniform(key)));
    document.delta_blocks.push_back(kBlockTokens * uniform(key + 1));
    document.kl_blocks.push_back(kBlockTokens * uniform(key + 2));
  }
  for (int64_t token = 0; token < kTokens; ++token)
    document.token_kl.push_back(
        static_cast<float>(uniform(run + static_cast<uint64_t>(index * kTokens + token))));
  return document;
}

const ComparisonResult& synthetic_comparison() {
  static const ComparisonResult result = [] {
    ComparisonResult built;
    for (uint64_t run = 0; run < kRuns; ++run) {
      MethodResult row;
      row.name = row.recipe = "run " + std::to_string(run);
      for (int d = 0; d < kDocuments; ++d) row.documents.push_back(synthetic_document(d, run));
      built.methods.push_back(std::move(row));
    }
    return built;
  }();
  return result;
}

void save(benchmark::State& state, bool partial) {
  ComparisonResult result = synthetic_comparison();
  result.partial = partial;
  const auto folder = std::filesystem::temp_directory_path() / "kvlab_save_bench";
  for (auto _ : state) write_comparison(result, folder);
  std::filesystem::remove_all(folder);
}

void save_on_the_way(benchmark::State& state) {
  save(state, true);
}
void save_at_the_end(benchmark::State& state) {
  save(state, false);
}
// Figures and text alone, without the time of the disk.
void figures_on_the_way(benchmark::State& state) {
  ComparisonResult result = synthetic_comparison();
  result.partial = true;
  for (auto _ : state) benchmark::DoNotOptimize(comparison_summary_json(result));
}
void figures_at_the_end(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(comparison_summary_json(synthetic_comparison()));
}

BENCHMARK(save_on_the_way)->Unit(benchmark::kMillisecond);
BENCHMARK(save_at_the_end)->Unit(benchmark::kMillisecond);
BENCHMARK(figures_on_the_way)->Unit(benchmark::kMillisecond);
BENCHMARK(figures_at_the_end)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvlab
