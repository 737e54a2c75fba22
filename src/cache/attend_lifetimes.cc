// Attention when lifetimes are known before it runs: no compression, fixed scorers, imposed evictions. Scores
// become evict_at, the blocked kernel reads what is alive, survivors are stored.
#include <algorithm>

#include "base/threads.h"
#include "cache/kv_cache.h"
#include "kernels/elementwise.h"

namespace kvlab {

namespace {

// Keys and values of a block in the cache's type, as the kernel and the store read them.
struct StoredBlock {
  const std::byte* k = nullptr;
  const std::byte* v = nullptr;
  int64_t stride = 0;  // elements between rows
  size_t element = 4;
  Buffer<BF16> k16, v16;

  StoredBlock(const LayerBlock& block, int row_size, DType type)
      : stride(block.kv_stride), element(element_size(type)) {
    if (type == DType::kF32) {
      k = reinterpret_cast<const std::byte*>(block.k);
      v = reinterpret_cast<const std::byte*>(block.v);
      return;
    }
    stride = row_size;
    k16 = Buffer<BF16>(static_cast<size_t>(block.rows) * row_size);
    v16 = Buffer<BF16>(static_cast<size_t>(block.rows) * row_size);
    for (int r = 0; r < block.rows; ++r) {
      to_bf16(block.k + r * block.kv_stride, row_size, k16.data() + static_cast<size_t>(r) * row_size);
      to_bf16(block.v + r * block.kv_stride, row_size, v16.data() + static_cast<size_t>(r) * row_size);
    }
    k = reinterpret_cast<const std::byte*>(k16.data());
    v = reinterpret_cast<const std::byte*>(v16.data());
  }
  const std::byte* key(int row, int offset) const { return k + (row * stride + offset) * element; }
  const std::byte* value(int row, int offset) const { return v + (row * stride + offset) * element; }
};

}  // namespace

void KvCache::plan(const LayerBlock& block, int head, const float* scores, std::vector<int32_t>& evict_old,
                   std::vector<int32_t>& evict_new, EvictionCounts& counts) const {
  const HeadStore& entries = store(block.layer, head);
  evict_old.assign(entries.size(), kNever);
  evict_new.assign(block.rows, kNever);
  if (options_.imposed) {
    const std::vector<int32_t>& evict_at = options_.imposed->evict_at[index(block.layer, head)];
    for (int slot = 0; slot < entries.size(); ++slot) evict_old[slot] = evict_at[entries.position(slot)];
    for (int r = 0; r < block.rows; ++r) evict_new[r] = evict_at[block.first + r];
    return;
  }
  if (!scores) return;
  const std::vector<int32_t> positions = entries.positions();
  std::vector<float> old_scores(positions.size());
  for (int slot = 0; slot < entries.size(); ++slot) old_scores[slot] = entries.state(0, slot);
  counts += plan_lifetimes(method_->spec.policy,
                           {positions, old_scores, block.first, {scores, static_cast<size_t>(block.rows)}},
                           evict_old, evict_new);
}

void KvCache::attend_by_lifetimes(const LayerBlock& block) {
  const ModelShape& shape = method_->shape;
  const int row_size = shape.kv_heads * shape.head_dim;
  const StoredBlock stored(block, row_size, options_.type);

  std::vector<float> scores;
  if (const FixedScorer* scorer = method_->fixed()) {
    scores.resize(static_cast<size_t>(shape.kv_heads) * block.rows);
    scorer->score({block.layer, block.first, block.rows, block.k, block.v, block.kv_stride, block.hidden,
                   options_.document},
                  scores.data());
  }
  const auto head_scores = [&](int head) {
    return scores.empty() ? nullptr : scores.data() + static_cast<size_t>(head) * block.rows;
  };

  std::vector<std::vector<int32_t>> evict_old(shape.kv_heads), evict_new(shape.kv_heads);
  std::vector<EvictionCounts> counts(shape.kv_heads);
  std::vector<std::vector<EntrySpan>> spans(shape.kv_heads);
  parallel_tasks(shape.kv_heads, [&](int head, int) {
    plan(block, head, head_scores(head), evict_old[head], evict_new[head], counts[head]);
    store(block.layer, head).add_spans(evict_old[head].data(), spans[head]);
    EntrySpan fresh;
    fresh.k = stored.key(0, head * shape.head_dim);
    fresh.v = stored.value(0, head * shape.head_dim);
    fresh.k_stride = fresh.v_stride = stored.stride;
    fresh.count = block.rows;
    fresh.first_position = static_cast<int32_t>(block.first);
    fresh.evict_at = evict_new[head].data();
    spans[head].push_back(fresh);
  });

  const int query_blocks = (block.rows + kQueryBlock - 1) / kQueryBlock;
  std::vector<AttentionScratch> scratch(thread_count());
  parallel_tasks(shape.kv_heads * query_blocks, [&](int task, int thread) {
    const int head = task % shape.kv_heads;
    // The longest rows first, so that no thread is left with one at the end.
    const int first_row = (query_blocks - 1 - task / shape.kv_heads) * kQueryBlock;
    const int64_t offset = static_cast<int64_t>(head) * shape.group() * shape.head_dim;
    QueryBlock queries;
    queries.q = block.q + first_row * block.q_stride + offset;
    queries.out = block.out + first_row * block.out_stride + offset;
    queries.q_row = block.q_stride;
    queries.out_row = block.out_stride;
    queries.q_head = queries.out_head = shape.head_dim;
    queries.queries = std::min(kQueryBlock, block.rows - first_row);
    queries.group = shape.group();
    queries.head_dim = shape.head_dim;
    queries.first_query = static_cast<int32_t>(block.first + first_row);
    queries.scale = attention_scale(shape.head_dim);
    lifetime_attention(queries, spans[head], options_.type, scratch[thread]);
  });

  for (int head = 0; head < shape.kv_heads; ++head) {
    counts_ += counts[head];
    if (options_.record_lifetimes)
      record_.evict_at[index(block.layer, head)].resize(block.first + block.rows, kNever);
    for (int slot = 0; slot < static_cast<int>(evict_old[head].size()); ++slot) {
      if (evict_old[head][slot] > block.first + block.rows) continue;
      note_eviction(block.layer, head, store(block.layer, head).position(slot), evict_old[head][slot]);
    }
    for (int r = 0; r < block.rows; ++r) {
      if (evict_new[head][r] <= block.first + block.rows) {
        note_eviction(block.layer, head, block.first + r, evict_new[head][r]);
      }
    }
  }
  parallel_tasks(shape.kv_heads, [&](int head, int) {
    HeadStore& entries = stores_[index(block.layer, head)];
    const int64_t end = block.first + block.rows;
    std::vector<int32_t> gone;
    for (int slot = entries.size() - 1; slot >= 0; --slot) {
      if (evict_old[head][slot] <= end) gone.push_back(slot);
    }
    entries.remove(gone);
    // A fixed score is what is carried; a weights scorer gets here only with imposed evictions, and carries
    // nothing.
    std::vector<float> state(std::max(1, entries.state_width()));
    for (int r = 0; r < block.rows; ++r) {
      if (evict_new[head][r] <= end) continue;
      if (const float* score = head_scores(head)) state[0] = score[r];
      entries.append(stored.key(r, head * shape.head_dim), stored.value(r, head * shape.head_dim),
                     static_cast<int32_t>(block.first + r), state.data());
    }
  });
}

}  // namespace kvlab
