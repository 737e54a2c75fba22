// page_attention in plain loops and double sums.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/page_attention.h"

namespace kvlab {
namespace {

struct Seen {
  const EntryPage* page;
  int slot;
};

double element(const void* base, size_t index, DType type) {
  return type == DType::kF32 ? static_cast<const float*>(base)[index]
                             : to_float(static_cast<const BF16*>(base)[index]);
}

std::vector<Seen> visible_entries(std::span<const EntryPage> pages, int64_t query) {
  std::vector<Seen> visible;
  for (const EntryPage& page : pages) {
    for (int slot = 0; slot < page.count; ++slot) {
      const int64_t position = page.position ? page.position[slot] : int64_t{page.first_position} + slot;
      const int64_t end = page.evict_at ? page.evict_at[slot] : kNever;
      if (position <= query && query < end) visible.push_back({&page, slot});
    }
  }
  return visible;
}

void attend_row(const float* q, const std::vector<Seen>& visible, double scale, int head_dim, DType type,
                float* out) {
  std::vector<double> weights, sums(head_dim, 0.0);
  double max = -INFINITY, total = 0;
  for (const Seen& entry : visible) {
    double score = 0;
    for (int i = 0; i < head_dim; ++i)
      score += q[i] * element(entry.page->k, key_element(type, entry.slot, i), type);
    weights.push_back(score * scale);
    max = std::max(max, weights.back());
  }
  for (size_t j = 0; j < visible.size(); ++j) {
    const double weight = std::exp(weights[j] - max);
    total += weight;
    for (int i = 0; i < head_dim; ++i)
      sums[i] +=
          weight * element(visible[j].page->v, value_element(type, visible[j].slot, i, head_dim), type);
  }
  for (int i = 0; i < head_dim; ++i) out[i] = total > 0 ? static_cast<float>(sums[i] / total) : 0.0f;
}

}  // namespace

void page_attention_reference(const QueryBlock& block, std::span<const EntryPage> pages, DType type) {
  for (int r = 0; r < block.queries; ++r) {
    const std::vector<Seen> visible = visible_entries(pages, int64_t{block.first_query} + r);
    for (int g = 0; g < block.group; ++g)
      attend_row(block.q + r * block.q_row + g * block.q_head, visible, block.scale, block.head_dim, type,
                 block.out + r * block.out_row + g * block.out_head);
  }
}

}  // namespace kvlab
