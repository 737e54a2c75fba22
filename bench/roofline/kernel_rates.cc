#include "bench/roofline/kernel_rates.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/random.h"
#include "bench/roofline/product_rates.h"
#include "bench/roofline/random_weights.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"

namespace kvlab::roofline {

namespace {

constexpr int kTokens = 2048, kSlots = 1024, kRows = 64;

enum class Lives { kDense, kWindow, kHalf };

std::vector<int32_t> make_lives(Lives lives) {
  std::vector<int32_t> evict_at(kTokens, kNever);
  for (int j = 0; j < kTokens; ++j) {
    if (lives == Lives::kWindow) evict_at[j] = j + 132;
    // What a threshold with a window of 128 does to a random half.
    if (lives == Lives::kHalf && entry_uniform(9, 0, 0, 0, j) < 0.5) evict_at[j] = j + 129;
  }
  return evict_at;
}

double visible_pairs(const std::vector<int32_t>& evict_at) {
  double pairs = 0;
  for (int j = 0; j < kTokens; ++j) pairs += std::min(evict_at[j], kTokens) - j;
  return pairs;
}

// One KV head with its query heads, for one thread.
struct Head {
  std::vector<float> q, k, v, out;
  std::vector<BF16> k16, v16;
  AttentionScratch scratch;

  Head(int group, int head_dim) {
    const size_t size = static_cast<size_t>(kTokens) * head_dim;
    k = uniform_floats(1, size, 1.0f);
    v = uniform_floats(2, size, 1.0f);
    q = uniform_floats(3, size * group, 1.0f);
    out.resize(q.size());
    k16.resize(size);
    v16.resize(size);
    to_bf16(k.data(), static_cast<int64_t>(size), k16.data());
    to_bf16(v.data(), static_cast<int64_t>(size), v16.data());
  }
};

void attend_all(Head& head, int group, int head_dim, DType type, const std::vector<int32_t>& evict_at) {
  EntrySpan span;
  span.k = type == DType::kF32 ? static_cast<const void*>(head.k.data()) : head.k16.data();
  span.v = type == DType::kF32 ? static_cast<const void*>(head.v.data()) : head.v16.data();
  span.k_stride = span.v_stride = head_dim;
  span.count = kTokens;
  span.evict_at = evict_at.data();
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
    lifetime_attention(block, {&span, 1}, type, head.scratch);
  }
}

Json one_query_rate(int group, int head_dim, DType type, int threads, const Peaks& peaks) {
  std::vector<SlotStore> stores;
  std::vector<std::vector<float>> weights(threads), out(threads);
  const auto q = uniform_floats(3, static_cast<size_t>(group) * head_dim, 1.0f);
  for (int thread = 0; thread < threads; ++thread) {
    stores.emplace_back(head_dim, type);
    for (int i = 0; i < kSlots; ++i)
      stores.back().append(uniform_floats(i, head_dim, 1.0f).data(),
                           uniform_floats(i + kSlots, head_dim, 1.0f).data());
    weights[thread].resize(static_cast<size_t>(kSlots) * group);
    out[thread].resize(q.size());
  }
  const Rate rate = repeat_on_threads(threads, [&](int thread) {
    stores[thread].attend(q.data(), group, attention_scale(head_dim), weights[thread].data(), kSlots,
                          out[thread].data());
  });
  return rate_row("attention, one query", fmt::format("{} entries, {}x{}", kSlots, group, head_dim), rate,
                  4.0 * head_dim * group * kSlots, 0, peaks.flops(DType::kF32));
}

}  // namespace

std::vector<Json> attention_rates(const ModelConfig& config, DType type, int threads, const Peaks& peaks) {
  const int group = config.query_heads / config.kv_heads, head_dim = config.head_dim;
  std::vector<Head> heads;
  for (int thread = 0; thread < threads; ++thread) heads.emplace_back(group, head_dim);
  const bool bf16 = type == DType::kBF16 && attention_uses_bf16_instructions();
  std::vector<Json> rows;
  for (const auto& [name, lives] :
       {std::pair("dense", Lives::kDense), {"a window of 132", Lives::kWindow}, {"half", Lives::kHalf}}) {
    const std::vector<int32_t> evict_at = make_lives(lives);
    const Rate rate = repeat_on_threads(
        threads, [&](int thread) { attend_all(heads[thread], group, head_dim, type, evict_at); });
    rows.push_back(rate_row(fmt::format("attention, blocked, {}", name),
                            fmt::format("{} queries, {}x{}", kTokens, group, head_dim), rate,
                            4.0 * head_dim * group * visible_pairs(evict_at), 0,
                            peaks.flops(bf16 ? DType::kBF16 : DType::kF32)));
  }
  rows.push_back(one_query_rate(group, head_dim, type, threads, peaks));
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
