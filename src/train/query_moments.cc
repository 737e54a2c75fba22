#include "train/query_moments.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/moments.h"
#include "kernels/rotary_table.h"

namespace kvlab {

namespace {

constexpr int kRows = 64;  // queries that are held in double at a time

double product(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// y = A x from A's lower triangle.
std::vector<double> times(std::span<const double> a, std::span<const double> x) {
  const size_t n = x.size();
  std::vector<double> y(n);
  for (size_t i = 0; i < n; ++i) {
    const double* row = a.data() + i * n;
    double sum = row[i] * x[i];
    for (size_t j = 0; j < i; ++j) {
      sum += row[j] * x[j];
      y[j] += row[j] * x[i];
    }
    y[i] += sum;
  }
  return y;
}

}  // namespace

QueryMoments::QueryMoments(const ModelShape& shape, Form form, int64_t skipped)
    : shape_(shape),
      form_(form),
      skipped_(skipped),
      sums_(place(shape.layers, 0) * shape.head_dim),
      outers_(sums_.size() * shape.head_dim) {}

void QueryMoments::see(const LayerBlock& block) {
  const auto first = static_cast<int>(std::clamp<int64_t>(skipped_ - block.first, 0, block.rows));
  if (first == block.rows) return;
  if (block.layer == 0) counted_ += block.rows - first;
  parallel_tasks(shape_.query_heads, [&](int head, int) { add_rows(block, head, first); });
}

void QueryMoments::add_rows(const LayerBlock& block, int query_head, int first) {
  const int d = shape_.head_dim;
  std::vector<double> rows(static_cast<size_t>(kRows) * d);
  const size_t at = place(block.layer, query_head) * d;
  for (; first < block.rows; first += kRows) {
    const int count = std::min(kRows, block.rows - first);
    const RotaryTable table(shape_.rotary_of(block.layer), block.first + first, count);
    for (int r = 0; r < count; ++r) {
      const float* q = block.q + (first + r) * block.q_stride + int64_t{1} * query_head * d;
      double* row = rows.data() + static_cast<size_t>(r) * d;
      if (form_ == Form::kRotated) {
        std::copy_n(q, d, row);
      } else {
        unrotate_half_split(q, table.cos_row(r), table.sin_row(r), table.pairs, d, row);
      }
    }
    add_moments(rows.data(), count, d, sums_.data() + at, outers_.data() + at * d);
  }
}

std::span<const double> QueryMoments::sum(int layer, int query_head) const {
  const size_t d = shape_.head_dim;
  return {sums_.data() + place(layer, query_head) * d, d};
}

std::span<const double> QueryMoments::outer(int layer, int query_head) const {
  const size_t d = shape_.head_dim;
  return {outers_.data() + place(layer, query_head) * d * d, d * d};
}

// Power iteration. Queries have one direction that stands out, so few steps are needed; where two are equally
// strong any mixture of them is an answer, and the steps end at the limit.
std::vector<double> leading_direction(std::span<const double> a, std::span<const double> start) {
  constexpr int kMostSteps = 10000;
  constexpr double kEnough = 1e-12;
  const auto unit = [](std::vector<double> x) {
    const double length = std::sqrt(product(x, x));
    KVLAB_CHECK(length > 0);
    for (double& e : x) e /= length;
    return x;
  };
  std::vector<double> x = unit({start.begin(), start.end()});
  for (int step = 0; step < kMostSteps; ++step) {
    std::vector<double> next = unit(times(a, x));
    double change = 0;
    for (size_t i = 0; i < x.size(); ++i) change = std::max(change, std::abs(next[i] - x[i]));
    x = std::move(next);
    if (change < kEnough) break;
  }
  if (product(x, start) < 0) {
    for (double& e : x) e = -e;
  }
  return x;
}

}  // namespace kvlab
