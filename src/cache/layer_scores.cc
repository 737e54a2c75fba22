#include "cache/layer_scores.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/random.h"
#include "cache/query_memory.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/query_votes.h"
#include "kernels/ridge_leverage.h"
#include "kernels/rotary_table.h"

namespace kvlab {

namespace {

// A number of the standard normal distribution (Box, Muller 1958), the same wherever it is drawn.
double normal_number(uint64_t seed, int layer, int head, uint64_t number) {
  const auto uniform = [&](uint64_t which) {
    return static_cast<double>(entry_uniform(seed, 0, static_cast<uint64_t>(layer),
                                             static_cast<uint64_t>(head), 2 * number + which));
  };
  return std::sqrt(-2 * std::log(1 - uniform(0))) * std::cos(2 * std::numbers::pi * uniform(1));
}

// Keys before rotary, less their mean: [entries][head_dim].
std::vector<double> centred_keys(const ModelShape& shape, const PeriodicView& view) {
  const int d = shape.head_dim;
  const auto count = static_cast<int64_t>(view.positions.size());
  std::vector<double> x(static_cast<size_t>(count) * d), mean(d);
  if (count == 0) return x;
  const int64_t first = view.positions.front();
  const RotaryTable table(shape.rotary_of(view.layer), first,
                          static_cast<int>(view.positions.back() - first + 1));
  for (int64_t t = 0; t < count; ++t) {
    const auto row = static_cast<int>(view.positions[t] - first);
    unrotate_half_split(view.k + t * d, table.cos_row(row), table.sin_row(row), table.pairs, d,
                        x.data() + t * d);
    for (int i = 0; i < d; ++i) mean[i] += x[t * d + i];
  }
  for (double& m : mean) m /= static_cast<double>(count);
  for (int64_t t = 0; t < count; ++t) {
    for (int i = 0; i < d; ++i) x[t * d + i] -= mean[i];
  }
  return x;
}

// x Phi for a d x sketch matrix Phi of normal numbers over sqrt(sketch).
std::vector<double> sketched(const std::vector<double>& x, int d, const LeverageOptions& options, int layer,
                             int head) {
  const int width = options.sketch;
  std::vector<double> phi(static_cast<size_t>(d) * width);
  for (size_t i = 0; i < phi.size(); ++i) {
    phi[i] = static_cast<float>(normal_number(options.seed, layer, head, i) /
                                std::sqrt(static_cast<double>(width)));
  }
  std::vector<double> y(x.size() / d * width);
  for (size_t t = 0; t < x.size() / d; ++t) {
    for (int i = 0; i < d; ++i) {
      const double* row = phi.data() + static_cast<size_t>(i) * width;
      for (int c = 0; c < width; ++c) y[t * width + c] += x[t * d + i] * row[c];
    }
  }
  return y;
}

// The queries and keys of a chunk, with zeros up to its full size.
struct Chunk {
  std::vector<float> q, k;       // [size][group][head_dim], [size][head_dim]
  std::vector<int32_t> visible;  // [size][group]
  std::vector<double> votes;
  Buffer<float> scratch;
};

// The attention that the entries [first, first + rows) get from the same entries' queries.
void add_chunk(const ModelShape& shape, const ChunkAttentionOptions& options, const PeriodicView& view,
               const std::vector<float>& queries, int64_t first, int rows, Chunk& chunk, double* out) {
  const int d = shape.head_dim, group = shape.group();
  const int size = options.padded ? options.chunk : rows;
  const int64_t oldest = view.n - view.queries->recent_rows();
  chunk.q.assign(static_cast<size_t>(size) * group * d, 0.0f);
  chunk.k.assign(static_cast<size_t>(size) * d, 0.0f);
  chunk.visible.assign(static_cast<size_t>(size) * group, size);
  chunk.votes.resize(rows);
  for (int r = 0; r < rows; ++r) {
    const int64_t query = view.positions[first + r] - oldest;
    std::copy_n(queries.data() + query * group * d, group * d,
                chunk.q.data() + static_cast<size_t>(r) * group * d);
  }
  std::copy_n(view.k + first * d, static_cast<size_t>(rows) * d, chunk.k.data());
  query_votes({chunk.q.data(), chunk.visible.data(), size * group}, chunk.k.data(), size, d,
              options.scaled ? attention_scale(d) : 1.0f, rows, chunk.scratch, chunk.votes.data());
  for (int r = 0; r < rows; ++r) out[first + r] = chunk.votes[r] / group;
}

std::vector<double> pooled(const std::vector<double>& x) {
  std::vector<double> means(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double before = i > 0 ? x[i - 1] : 0, after = i + 1 < x.size() ? x[i + 1] : 0;
    means[i] = (before + x[i] + after) / 3;
  }
  return means;
}

}  // namespace

PeriodicView unprotected_part(const PeriodicView& view, int head_dim) {
  const auto at = [&](int64_t position) {
    return std::lower_bound(view.positions.begin(), view.positions.end(), position) - view.positions.begin();
  };
  const int64_t begin = at(view.sinks), end = std::max<int64_t>(begin, at(view.window_begin));
  PeriodicView part = view;
  part.positions = view.positions.subspan(begin, end - begin);
  part.k = view.k + begin * head_dim;
  part.v = view.v + begin * head_dim;
  return part;
}

LayerScores key_leverage(const ModelShape& shape, const LeverageOptions& options,
                         std::span<const PeriodicView> heads) {
  LayerScores scores;
  for (size_t h = 0; h < heads.size(); ++h) {
    std::vector<double> x = centred_keys(shape, heads[h]);
    if (options.sketch > 0) x = sketched(x, shape.head_dim, options, heads[h].layer, static_cast<int>(h));
    const int width = options.sketch > 0 ? options.sketch : shape.head_dim;
    scores.emplace_back(heads[h].positions.size());
    ridge_leverage(x.data(), static_cast<int64_t>(heads[h].positions.size()), width, options.ridge,
                   scores.back().data());
  }
  return scores;
}

LayerScores chunk_attention(const ModelShape& shape, const ChunkAttentionOptions& options,
                            std::span<const PeriodicView> heads) {
  LayerScores scores;
  Chunk chunk;
  for (const PeriodicView& view : heads) {
    const int d = shape.head_dim;
    const auto count = static_cast<int64_t>(view.positions.size());
    std::vector<float> queries(static_cast<size_t>(view.queries->recent_rows()) * shape.group() * d);
    view.queries->copy_recent(queries.data());
    std::vector<double> got(count);
    for (int64_t first = 0; first < count; first += options.chunk) {
      const auto rows = static_cast<int>(std::min<int64_t>(options.chunk, count - first));
      add_chunk(shape, options, view, queries, first, rows, chunk, got.data());
    }
    for (int64_t t = 0; t < count; ++t) got[t] *= l2_norm(view.v + t * d, d);
    scores.push_back(pooled(got));
  }
  return scores;
}

void standardise(LayerScores& scores) {
  constexpr double kLeastDeviation = 1e-6;
  double count = 0, sum = 0, squares = 0;
  for (const auto& head : scores) {
    count += static_cast<double>(head.size());
    for (const double s : head) sum += s;
  }
  const double mean = count > 0 ? sum / count : 0;
  for (const auto& head : scores) {
    for (const double s : head) squares += (s - mean) * (s - mean);
  }
  const double deviation = count > 1 ? std::sqrt(squares / (count - 1)) : 0;
  for (auto& head : scores) {
    for (double& s : head) s = (s - mean) / std::max(deviation, kLeastDeviation);
  }
}

}  // namespace kvlab
