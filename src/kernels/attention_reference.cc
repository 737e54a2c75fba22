// lifetime_attention in plain loops and double sums.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention.h"

namespace kvlab {
namespace {

struct Entry {
  const EntrySpan* span;
  int64_t row;
};

double element(const void* base, int64_t index, DType type) {
  if (type == DType::kF32) return static_cast<const float*>(base)[index];
  if (type == DType::kBF16) return to_float(static_cast<const BF16*>(base)[index]);
  return half_to_float(static_cast<const uint16_t*>(base)[index]);
}

std::vector<Entry> visible_entries(std::span<const EntrySpan> entries, int64_t query) {
  std::vector<Entry> visible;
  for (const EntrySpan& span : entries) {
    for (int32_t i = 0; i < span.count; ++i) {
      const int64_t position = span.position ? span.position[i] : int64_t{span.first_position} + i;
      const int64_t evict = span.evict_at ? span.evict_at[i] : kNever;
      if (position <= query && query < evict) visible.push_back({&span, i});
    }
  }
  return visible;
}

void attend_row(const float* q, const std::vector<Entry>& visible, double scale, int head_dim, DType type,
                float* out) {
  std::vector<double> weights, sums(head_dim, 0.0);
  double max = -INFINITY, total = 0;
  for (const Entry& entry : visible) {
    double score = 0;
    for (int i = 0; i < head_dim; ++i)
      score += q[i] * element(entry.span->k, entry.row * entry.span->k_stride + i, type);
    weights.push_back(score * scale);
    max = std::max(max, weights.back());
  }
  for (size_t j = 0; j < visible.size(); ++j) {
    const double weight = std::exp(weights[j] - max);
    total += weight;
    for (int i = 0; i < head_dim; ++i)
      sums[i] += weight * element(visible[j].span->v, visible[j].row * visible[j].span->v_stride + i, type);
  }
  for (int i = 0; i < head_dim; ++i) out[i] = total > 0 ? static_cast<float>(sums[i] / total) : 0.0f;
}

}  // namespace

void lifetime_attention_reference(const QueryBlock& block, std::span<const EntrySpan> entries, DType type) {
  for (int r = 0; r < block.queries; ++r) {
    const std::vector<Entry> visible = visible_entries(entries, int64_t{block.first_query} + r);
    for (int g = 0; g < block.group; ++g)
      attend_row(block.q + r * block.q_row + g * block.q_head, visible, block.scale, block.head_dim, type,
                 block.out + r * block.out_row + g * block.out_head);
  }
}

}  // namespace kvlab
