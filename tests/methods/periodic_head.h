// One KV head after some tokens, with gaps where entries have gone: what tests of periodic scorers score.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cache/method.h"
#include "cache/query_memory.h"
#include "kernels/rotary_table.h"

namespace kvlab::testing {

using Vector = std::vector<double>;

// A layer of one KV head and two query heads of size 8; all of a head is rotated.
struct PeriodicHead {
  static constexpr int kDim = 8, kGroup = 2;
  static ModelShape shape() { return {1, 16, 2, 1, kDim, {1.0, 0.3, 0.05, 0.01}}; }

  explicit PeriodicHead(int tokens = 40, const std::set<int>& gone = {5, 6, 17, 30}) : tokens(tokens) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal;
    for (int j = 0; j < tokens; ++j) {
      for (int c = 0; c < kGroup * kDim; ++c) queries.push_back(normal(generator));
      if (gone.contains(j)) continue;
      positions.push_back(j);
      for (int c = 0; c < kDim; ++c) k.push_back(normal(generator) + (c == 0 ? 1.0f : 0.0f));
      for (int c = 0; c < kDim; ++c) v.push_back(normal(generator));
    }
  }

  std::vector<float> score(const std::string& recipe) const {
    const auto method = make_method(resolve_recipe(recipe, {}), shape());
    const PeriodicScorer& scorer = *method->periodic();
    QueryMemory memory(kGroup, kDim, scorer.recent_queries(), scorer.query_moments());
    const RotaryTable table(shape().rotary, 0, tokens);
    for (int j = 0; j < tokens; ++j) {
      memory.append(queries.data() + j * kGroup * kDim, kDim, table.cos_row(j), table.sin_row(j), table.pairs,
                    j >= method->spec.policy.sinks);
    }
    std::vector<float> out(positions.size());
    scorer.score({0, tokens, method->spec.policy.sinks, positions, k.data(), v.data(), &memory}, out.data());
    return out;
  }

  double dot(const float* a, const float* b) const { return std::inner_product(a, a + kDim, b, 0.0); }
  double length(const float* a) const { return std::sqrt(dot(a, a)); }
  const float* key(size_t i) const { return k.data() + i * kDim; }
  const float* value(size_t i) const { return v.data() + i * kDim; }
  const float* query(int j, int g) const { return queries.data() + (j * kGroup + g) * kDim; }
  // The query before its rotation.
  Vector plain_query(int j, int g) const {
    const RotaryTable table(shape().rotary, j, 1);
    Vector plain(kDim);
    unrotate_half_split(query(j, g), table.cos_row(0), table.sin_row(0), table.pairs, kDim, plain.data());
    return plain;
  }
  // Live entries below position `sinks`: no gap lies there.
  size_t open(int sinks) const {
    size_t first = 0;
    while (positions[first] < sinks) ++first;
    return first;
  }
  // The mean of the rotation matrices at the `future` positions after the last token, entry by entry.
  std::vector<Vector> mean_rotation(int future) const {
    std::vector<Vector> mean(kDim, Vector(kDim));
    const Vector frequencies = shape().rotary.at(0);
    const int pairs = static_cast<int>(frequencies.size());
    for (int p = tokens; p < tokens + future; ++p) {
      for (int i = 0; i < pairs; ++i) {
        const double c = std::cos(p * frequencies[i]) / future, s = std::sin(p * frequencies[i]) / future;
        mean[i][i] += c;
        mean[i + pairs][i + pairs] += c;
        mean[i][i + pairs] -= s;
        mean[i + pairs][i] += s;
      }
    }
    return mean;
  }

  int tokens;
  std::vector<int32_t> positions;
  std::vector<float> k, v, queries;  // queries: [token][group][dim], rotated
};

inline Vector times(const std::vector<Vector>& matrix, const Vector& x) {
  Vector result;
  for (const Vector& row : matrix)
    result.push_back(std::inner_product(row.begin(), row.end(), x.begin(), 0.0));
  return result;
}

inline void softmax(Vector& x) {
  double sum = 0;
  for (double& e : x) sum += e = std::exp(e);
  for (double& e : x) e /= sum;
}

}  // namespace kvlab::testing
