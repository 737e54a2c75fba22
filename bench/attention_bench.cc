// One thread's attention: FLOPS counts 4 head_dim operations for every query and entry it sees, and nothing
// else. `paged` is the blocked kernel, `one_query` the one that gives the weights.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/page_attention.h"

namespace kvlab {
namespace {

enum Lives { kDense, kWindow };

std::vector<float> random_floats(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 2 * entry_uniform(seed, 0, 0, 0, i) - 1;
  return out;
}

std::vector<int32_t> make_lives(int tokens, int lives) {
  constexpr int kWindowSize = 132;
  std::vector<int32_t> evict_at(tokens, kNever);
  for (int j = 0; j < tokens; ++j) {
    if (lives == kWindow) evict_at[j] = j + kWindowSize;
  }
  return evict_at;
}

double visible_pairs(const std::vector<int32_t>& evict_at) {
  const int64_t tokens = static_cast<int64_t>(evict_at.size());
  double pairs = 0;
  for (int64_t j = 0; j < tokens; ++j)
    pairs += static_cast<double>(std::min<int64_t>(evict_at[j], tokens) - j);
  return pairs;
}

// Rates are per second of processor time, so that other work on the machine disturbs them little.
benchmark::Counter rate(double amount) {
  return {amount, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000};
}

// Entries 0, 1, ... in pages.
class Pages {
 public:
  Pages(int tokens, int head_dim, DType type) {
    const std::vector<float> k = random_floats(static_cast<size_t>(head_dim) * tokens, 1);
    const std::vector<float> v = random_floats(k.size(), 2);
    const size_t key_bytes = page_key_elements(head_dim) * element_size(type);
    const size_t bytes = key_bytes + page_value_elements(head_dim) * element_size(type);
    for (int first = 0; first < tokens; first += kPageSlots) {
      memory_.emplace_back(bytes);
      memory_.back().zero();
      const PageData page{memory_.back().data(), memory_.back().data() + key_bytes};
      const size_t at = static_cast<size_t>(head_dim) * first;
      const int rows = std::min(kPageSlots, tokens - first);
      write_entries(&k[at], &v[at], head_dim, rows, 0, head_dim, type, page);
      data_.push_back({page.k, page.v});
    }
  }
  const std::vector<ConstPageData>& data() const { return data_; }

 private:
  std::vector<Buffer<char>> memory_;
  std::vector<ConstPageData> data_;
};

// Pages at the front that a cache would have freed before query `first`.
size_t gone_pages(const std::vector<int32_t>& evict_at, int first) {
  int gone = 0;
  while (gone < first && evict_at[gone] <= first) ++gone;
  return gone / kPageSlots;
}

void paged(benchmark::State& state, DType type, bool bf16_instructions, int lives, int head_dim, int group) {
  const int tokens = static_cast<int>(state.range(0));
  attention_allow_bf16_instructions(bf16_instructions);
  const Pages memory(tokens, head_dim, type);
  const std::vector<int32_t> evict_at = make_lives(tokens, lives);
  std::vector<EntryPage> pages;
  for (int first = 0; first < tokens; first += kPageSlots) {
    EntryPage page;
    page.k = memory.data()[first / kPageSlots].k;
    page.v = memory.data()[first / kPageSlots].v;
    page.count = std::min(kPageSlots, tokens - first);
    page.first_position = first;
    if (lives != kDense) page.evict_at = &evict_at[first];
    pages.push_back(page);
  }
  const std::vector<float> q = random_floats(static_cast<size_t>(tokens) * group * head_dim, 3);
  std::vector<float> out(q.size());
  QueryBlock block;
  block.q_head = block.out_head = head_dim;
  block.q_row = block.out_row = int64_t{group} * head_dim;
  block.group = group;
  block.head_dim = head_dim;
  block.scale = attention_scale(head_dim);
  PageAttentionScratch scratch;
  for (auto _ : state) {
    for (int first = 0; first < tokens; first += kQueryBlock) {
      block.first_query = first;
      block.queries = std::min(kQueryBlock, tokens - first);
      block.q = q.data() + first * block.q_row;
      block.out = out.data() + first * block.out_row;
      page_attention(block, std::span(pages).subspan(gone_pages(evict_at, first)), type, scratch);
    }
  }
  attention_allow_bf16_instructions(true);
  state.counters["FLOPS"] = rate(visible_pairs(evict_at) * group * 4.0 * head_dim);
}

void one_query(benchmark::State& state, DType type, bool bf16_instructions, int group, int head_dim) {
  const int live = static_cast<int>(state.range(0));
  attention_allow_bf16_instructions(bf16_instructions);
  const Pages pages(live, head_dim, type);
  const int64_t stride = (live + 15) / 16 * 16;
  const std::vector<float> q = random_floats(static_cast<size_t>(group) * head_dim, 3);
  std::vector<float> out(q.size());
  Buffer<float> weights(stride * group);
  PageAttentionScratch scratch;
  for (auto _ : state)
    attend_entries(pages.data(), live, type, head_dim, q.data(), head_dim, group, attention_scale(head_dim),
                   weights.data(), stride, out.data(), head_dim, scratch);
  attention_allow_bf16_instructions(true);
  state.counters["FLOPS"] = rate(4.0 * head_dim * group * live);
  state.counters["bytes"] = rate(2.0 * head_dim * live * element_size(type));
}

BENCHMARK_CAPTURE(paged, dense_f32, DType::kF32, false, kDense, 64, 3)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(paged, dense_bf16, DType::kBF16, true, kDense, 64, 3)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(paged, dense_bf16_converted, DType::kBF16, false, kDense, 64, 3)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(paged, window_f32, DType::kF32, false, kWindow, 64, 3)->Arg(4096);
BENCHMARK_CAPTURE(paged, window_bf16, DType::kBF16, true, kWindow, 64, 3)->Arg(4096);
BENCHMARK_CAPTURE(paged, dense_bf16_d32, DType::kBF16, true, kDense, 32, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_bf16_d48, DType::kBF16, true, kDense, 48, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_bf16_d80, DType::kBF16, true, kDense, 80, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_bf16_d96, DType::kBF16, true, kDense, 96, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_bf16_d128, DType::kBF16, true, kDense, 128, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_bf16_d256, DType::kBF16, true, kDense, 256, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_f32_d80, DType::kF32, false, kDense, 80, 3)->Arg(1024);
BENCHMARK_CAPTURE(paged, dense_f32_d128, DType::kF32, false, kDense, 128, 3)->Arg(1024);
BENCHMARK_CAPTURE(one_query, f32, DType::kF32, false, 3, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16, DType::kBF16, true, 3, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16_converted, DType::kBF16, false, 3, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16_group1, DType::kBF16, true, 1, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16_group4, DType::kBF16, true, 4, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16_group8, DType::kBF16, true, 8, 64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK_CAPTURE(one_query, bf16_d128, DType::kBF16, true, 4, 128)->Arg(1024);

}  // namespace
}  // namespace kvlab
