#include "bench/roofline/kernel_rates.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/uniform.h"
#include "bench/roofline/product_rates.h"
#include "kernels/elementwise.h"
#include "kernels/page_attention.h"

namespace kvlab::roofline {

namespace {

constexpr int kTokens = 2048, kSlots = 1024, kRows = 64;

// Entries of one KV head in pages, for one thread.
struct Head {
  std::vector<float> q, out;
  std::vector<Buffer<char>> memory;
  std::vector<EntryPage> pages;
  Buffer<float> weights;
  PageAttentionScratch scratch;

  Head(int group, int head_dim, DType type) {
    const size_t key_bytes = page_key_elements(head_dim) * element_size(type);
    const size_t bytes = key_bytes + page_value_elements(head_dim) * element_size(type);
    q = uniform_floats(3, static_cast<size_t>(kTokens) * head_dim * group, 1.0f);
    out.resize(q.size());
    weights = Buffer<float>(static_cast<size_t>(kSlots) * group);
    for (int first = 0; first < kTokens; first += kPageSlots) {
      const auto rows = uniform_floats(first, static_cast<size_t>(2) * kPageSlots * head_dim, 1.0f);
      memory.emplace_back(bytes);
      memory.back().zero();
      const PageData page{memory.back().data(), memory.back().data() + key_bytes};
      write_entries(rows.data(), rows.data() + kPageSlots * head_dim, head_dim, kPageSlots, 0, head_dim, type,
                    page);
      pages.push_back({page.k, page.v, kPageSlots, nullptr, first, nullptr});
    }
  }
};

// All queries over the pages of the last `window` tokens.
void attend_all(Head& head, int group, int head_dim, DType type, int window) {
  QueryBlock block;
  block.q_head = block.out_head = head_dim;
  block.q_row = block.out_row = static_cast<int64_t>(group) * head_dim;
  block.group = group;
  block.head_dim = head_dim;
  block.scale = attention_scale(head_dim);
  block.queries = kQueryBlock;
  for (int first = 0; first < kTokens; first += kQueryBlock) {
    block.first_query = first;
    block.q = head.q.data() + first * block.q_row;
    block.out = head.out.data() + first * block.out_row;
    const int begin = std::max(0, first - window) / kPageSlots, end = (first + kQueryBlock) / kPageSlots;
    page_attention(block, std::span(head.pages).subspan(begin, end - begin), type, head.scratch);
  }
}

double visible_pairs(int window) {
  double pairs = 0;
  for (int first = 0; first < kTokens; first += kQueryBlock) {
    const int begin = std::max(0, first - window) / kPageSlots * kPageSlots;
    for (int i = 0; i < kQueryBlock; ++i) pairs += first + i + 1 - begin;
  }
  return pairs;
}

Json one_query_rate(std::vector<Head>& heads, int group, int head_dim, DType type, double peak) {
  const auto threads = static_cast<int>(heads.size());
  std::vector<std::vector<ConstPageData>> tables(threads);
  for (int thread = 0; thread < threads; ++thread) {
    for (int p = 0; p < kSlots / kPageSlots; ++p)
      tables[thread].push_back({heads[thread].pages[p].k, heads[thread].pages[p].v});
  }
  const Rate rate = repeat_on_threads(threads, [&](int thread) {
    Head& head = heads[thread];
    attend_entries(tables[thread], kSlots, type, head_dim, head.q.data(), head_dim, group,
                   attention_scale(head_dim), head.weights.data(), kSlots, head.out.data(), head_dim,
                   head.scratch);
  });
  return rate_row("attention, one query", fmt::format("{} entries, {}x{}", kSlots, group, head_dim), rate,
                  4.0 * head_dim * group * kSlots, 0, peak);
}

}  // namespace

std::vector<Json> attention_rates(const ModelConfig& config, DType type, int threads, const Peaks& peaks) {
  const int group = config.query_heads / config.kv_heads, head_dim = config.head_dim;
  std::vector<Head> heads;
  for (int thread = 0; thread < threads; ++thread) heads.emplace_back(group, head_dim, type);
  const bool bf16 = type == DType::kBF16 && attention_uses_bf16_instructions();
  const double peak = peaks.flops(bf16 ? DType::kBF16 : DType::kF32);
  std::vector<Json> rows;
  for (const auto& [name, window] : {std::pair("dense", kTokens), {"a window of 128", 128}}) {
    const Rate rate = repeat_on_threads(
        threads, [&, w = window](int thread) { attend_all(heads[thread], group, head_dim, type, w); });
    rows.push_back(rate_row(fmt::format("attention, blocked, {}", name),
                            fmt::format("{} queries, {}x{}", kTokens, group, head_dim), rate,
                            4.0 * head_dim * group * visible_pairs(window), 0, peak));
  }
  rows.push_back(one_query_rate(heads, group, head_dim, type, peak));
  return rows;
}

std::vector<Json> row_rates(const ModelConfig& config, int threads, const Peaks& peaks) {
  struct Rows {
    std::vector<float> x, y;
  };
  std::vector<Json> table;
  // work(x, y, row) on rows of `size` floats, of which each call moves `moved`.
  const auto add = [&](const char* name, int size, double moved, auto&& work) {
    std::vector<Rows> rows(threads);
    for (Rows& own : rows) {
      own.x = uniform_floats(1, static_cast<size_t>(kRows) * size, 1.0f);
      own.y = uniform_floats(2, static_cast<size_t>(kRows) * size, 1.0f);
    }
    const Rate rate = repeat_on_threads(threads, [&](int thread) {
      for (size_t r = 0; r < kRows; ++r) work(&rows[thread].x[r * size], &rows[thread].y[r * size]);
    });
    table.push_back(rate_row(name, fmt::format("{}x{}", kRows, size), rate, 0, 4.0 * kRows * moved,
                             peaks.stream_all.per_second));
  };
  const int hidden = config.hidden, inner = config.intermediate, dims = config.rotary.dims;
  const auto weight = uniform_floats(3, hidden, 1.0f);
  const int qk = (config.query_heads + config.kv_heads) * config.head_dim;
  const std::vector<float> half(dims / 2, 0.6f), other(dims / 2, 0.8f);
  add("RMS norm", hidden, 2.0 * hidden,
      [&](const float* x, float* y) { rms_norm(x, weight.data(), 1e-5f, hidden, y); });
  add("rotary embedding", qk, 2.0 * qk, [&](float* x, float*) {
    for (int head = 0; head < config.query_heads + config.kv_heads; ++head)
      rotate_half_split(x + static_cast<int64_t>(head) * config.head_dim, half.data(), other.data(), dims);
  });
  // One input for both: a product written over its factor would sink into denormal numbers.
  add("SiLU times up", inner, 2.0 * inner, [&](const float* x, float* y) { silu_mul(x, x, inner, y); });
  add("residual", hidden, 3.0 * hidden, [&](const float* x, float* y) { add_to(x, hidden, y); });
  return table;
}

}  // namespace kvlab::roofline
