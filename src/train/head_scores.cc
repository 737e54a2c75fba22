#include "train/head_scores.h"

#include <algorithm>
#include <cmath>

#include "kernels/rotary_table.h"

namespace kvlab {

MeanDirections::MeanDirections(const ModelShape& shape)
    : shape_(shape),
      tokens_(shape.layers),
      queries_(static_cast<size_t>(shape.layers) * shape.query_heads * shape.head_dim),
      keys_(static_cast<size_t>(shape.layers) * shape.kv_heads * shape.head_dim) {}

void MeanDirections::add(const float* x, int64_t stride, int heads, int rows, const RotaryTable& rotary,
                         double* sums) const {
  const int d = shape_.head_dim;
  std::vector<double> plain(d);
  for (int r = 0; r < rows; ++r) {
    for (int head = 0; head < heads; ++head) {
      unrotate_half_split(x + r * stride + int64_t{1} * head * d, rotary.cos_row(r), rotary.sin_row(r),
                          rotary.pairs, d, plain.data());
      for (int i = 0; i < d; ++i) sums[head * d + i] += plain[i];
    }
  }
}

void MeanDirections::see(const LayerBlock& block) {
  const RotaryTable rotary(shape_.rotary_of(block.layer), block.first, block.rows);
  const auto d = static_cast<size_t>(shape_.head_dim);
  add(block.q, block.q_stride, shape_.query_heads, block.rows, rotary,
      queries_.data() + block.layer * d * shape_.query_heads);
  add(block.k, block.kv_stride, shape_.kv_heads, block.rows, rotary,
      keys_.data() + block.layer * d * shape_.kv_heads);
  tokens_[block.layer] += block.rows;
}

std::vector<double> MeanDirections::scores(int positions) const {
  const int d = shape_.head_dim, group = shape_.group();
  std::vector<double> scores, q(d), k(d);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    const auto count = static_cast<double>(std::max<int64_t>(1, tokens_[layer]));
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const int64_t kv = int64_t{1} * layer * shape_.kv_heads + head;
      for (int i = 0; i < d; ++i) k[i] = keys_[kv * d + i] / count;
      double sum = 0;
      for (int g = 0; g < group; ++g) {
        for (int i = 0; i < d; ++i) q[i] = queries_[(kv * group + g) * d + i] / count;
        sum += weight_behind(q.data(), k.data(), d, shape_.rotary_of(layer), positions);
      }
      scores.push_back(sum / group);
    }
  }
  return scores;
}

double weight_behind(const double* q, const double* k, int head_dim, const RotaryFrequencies& frequencies,
                     int positions) {
  // Only the distance counts, so the key stands still and the query turns.
  const std::vector<double> turns = frequencies.at(0);
  const auto pairs = static_cast<int>(turns.size());
  double still = 0;  // of the elements that are not rotated
  for (int i = 2 * pairs; i < head_dim; ++i) still += q[i] * k[i];
  std::vector<double> weights(positions);
  for (int j = 0; j < positions; ++j) {
    double logit = still;
    for (int i = 0; i < pairs; ++i) {
      const double angle = turns[i] * (positions - 1 - j), c = std::cos(angle), s = std::sin(angle);
      const double a = q[i], b = q[i + pairs];
      logit += (a * c - b * s) * k[i] + (b * c + a * s) * k[i + pairs];
    }
    weights[j] = logit / std::sqrt(static_cast<double>(head_dim));
  }
  const double top = *std::max_element(weights.begin(), weights.end());
  double total = 0, behind = 0;
  for (int j = 0; j < positions; ++j) {
    const double weight = std::exp(weights[j] - top);
    total += weight;
    behind += weight * (positions - j);  // it is in the sums from position j on
  }
  return behind / total / positions;
}

}  // namespace kvlab
