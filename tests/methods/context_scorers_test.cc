// Scorers that see a whole layer at the end of a context, against plain transcriptions in double precision.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <random>

#include "base/random.h"
#include "cache/method.h"
#include "cache/query_memory.h"
#include "contract/harness.h"
#include "kernels/rotary_table.h"
#include "support/damage.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;

using Vector = std::vector<double>;
using Layer = std::vector<Vector>;  // [KV head][entry]

constexpr int kDim = 8, kGroup = 2, kHeads = 2, kTokens = 75;

ModelShape shape() {
  return {1, 32, kGroup * kHeads, kHeads, kDim, {1.0, 0.3, 0.05}};  // the last pair is not rotated
}

// A KV head with all of its kTokens entries.
struct Head {
  std::vector<int32_t> positions = std::vector<int32_t>(kTokens);
  std::vector<float> plain_k, k, v, queries;  // queries: [token][group][dim], rotated

  explicit Head(unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::iota(positions.begin(), positions.end(), 0);
    const auto draw = [&](std::vector<float>& x, int count, float spread) {
      for (int i = 0; i < count; ++i) x.push_back(spread * normal(generator));
    };
    draw(plain_k, kTokens * kDim, 1.0f + static_cast<float>(seed));
    draw(v, kTokens * kDim, 1.0f);
    draw(queries, kTokens * kGroup * kDim, 0.5f);
    const int pairs = shape().rotary.pairs();
    k = plain_k;
    for (int t = 0; t < kTokens; ++t) {
      for (int i = 0; i < pairs; ++i) {
        const double angle = t * shape().rotary.at(0)[i];
        const double a = plain_k[t * kDim + i], b = plain_k[t * kDim + i + pairs];
        k[t * kDim + i] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
        k[t * kDim + i + pairs] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
      }
    }
  }
  double dot(int t, int g, int j) const {
    return std::inner_product(&queries[(t * kGroup + g) * kDim], &queries[(t * kGroup + g) * kDim] + kDim,
                              &k[j * kDim], 0.0);
  }
  double length(int t) const {
    return std::sqrt(std::inner_product(&v[t * kDim], &v[t * kDim] + kDim, &v[t * kDim], 0.0));
  }
};

const std::vector<Head>& heads() {
  static const std::vector<Head> all = {Head(1), Head(2)};
  return all;
}

Layer score(const std::string& recipe) {
  const auto method = make_method(resolve_recipe(recipe, {}), shape());
  const ContextScorer& scorer = *method->context_scorer();
  const Policy& policy = method->spec.policy;
  const RotaryTable table(shape().rotary, 0, kTokens);
  std::vector<std::unique_ptr<QueryMemory>> memories;
  std::vector<PeriodicView> views;
  std::vector<std::vector<float>> scores(kHeads, std::vector<float>(kTokens));
  std::vector<float*> out;
  for (int h = 0; h < kHeads; ++h) {
    const Head& head = heads()[h];
    memories.push_back(std::make_unique<QueryMemory>(kGroup, kDim, scorer.recent_queries(), false));
    for (int t = 0; t < kTokens; ++t)
      memories.back()->append(&head.queries[t * kGroup * kDim], kDim, table.cos_row(t), table.sin_row(t),
                              table.pairs, true);
    views.push_back(
        {0, kTokens, policy.sinks, head.positions, head.k.data(), head.v.data(), memories.back().get()});
    views.back().window_begin = kTokens - policy.window_at(kTokens);
    views.back().exact_limit = policy.threshold() ? kTokens : policy.exact_limit_at(kTokens);
    out.push_back(scores[h].data());
  }
  scorer.score(views, out);
  Layer result;
  for (const auto& head : scores) result.emplace_back(head.begin(), head.end());
  return result;
}

void standardise(Layer& layer) {
  Vector all;
  for (const Vector& head : layer) all.insert(all.end(), head.begin(), head.end());
  const auto count = static_cast<double>(all.size());
  const double mean = std::accumulate(all.begin(), all.end(), 0.0) / count;
  double squares = 0;
  for (const double x : all) squares += (x - mean) * (x - mean);
  for (Vector& head : layer) {
    for (double& x : head) x = (x - mean) / std::sqrt(squares / (count - 1));
  }
}

void expect_near(const Layer& got, const Layer& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t h = 0; h < got.size(); ++h) {
    for (size_t t = 0; t < got[h].size(); ++t) EXPECT_NEAR(got[h][t], expected[h][t], tolerance) << t;
  }
}

// Entries [begin, end) in chunks of `chunk`. With `filled`, zeros that fill the last chunk take part: a key
// of zeros has the logit 0 for every query, a query of zeros pays every entry of the chunk the same.
Layer attention(int begin, int end, int chunk, double scale, const std::string& pad) {
  Layer layer;
  for (const Head& head : heads()) {
    const int count = end - begin;
    Vector got(count);
    for (int first = begin; first < end; first += chunk) {
      const int last = std::min(end, first + chunk), missing = first + chunk - last;
      // What a query of zeros pays each entry.
      const double evenly = pad == "kvpress" ? 1.0 / chunk : 0;
      for (int g = 0; g < kGroup; ++g) {
        for (int q = first; q < last; ++q) {
          double sum = pad == "kvpress" ? missing : 0;
          for (int j = first; j < last; ++j) sum += std::exp(scale * head.dot(q, g, j));
          for (int j = first; j < last; ++j)
            got[j - begin] += std::exp(scale * head.dot(q, g, j)) / sum / kGroup;
        }
        for (int j = first; j < last; ++j) got[j - begin] += missing * evenly / kGroup;
      }
    }
    for (int j = 0; j < count; ++j) got[j] *= head.length(begin + j);
    Vector pooled(count);
    for (int j = 0; j < count; ++j) {
      for (int i = std::max(0, j - 1); i <= std::min(count - 1, j + 1); ++i) pooled[j] += got[i] / 3;
    }
    layer.push_back(pooled);
  }
  standardise(layer);
  return layer;
}

TEST(ContextScorers, NonCausalAttentionIsWhatAChunkPaysToItself) {
  expect_near(score("non_causal_attention(keep=0.5,chunk=32)"), attention(0, kTokens, 32, 1, "kvpress"),
              1e-4);
  expect_near(score("non_causal_attention(keep=0.5,chunk=28,scale=yes,pad=none)"),
              attention(0, kTokens, 28, 1 / std::sqrt(double{kDim}), "none"), 1e-4);
  expect_near(score("non_causal_attention(keep=0.5)"), attention(0, kTokens, 256, 1, "kvpress"), 1e-4);
}

// Solves a x = b by elimination; a is small and far from singular.
Vector solved(Layer a, Vector b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t r = i + 1; r < n; ++r) {
      const double factor = a[r][i] / a[i][i];
      for (size_t c = i; c < n; ++c) a[r][c] -= factor * a[i][c];
      b[r] -= factor * b[i];
    }
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t c = i + 1; c < n; ++c) b[i] -= a[i][c] * b[c];
    b[i] /= a[i][i];
  }
  return b;
}

using Sketch = std::function<Vector(const Vector& key, int head)>;

Layer leverage(int begin, int end, double ridge, const Sketch& sketch) {
  Layer layer;
  for (int h = 0; h < kHeads; ++h) {
    Vector mean(kDim);
    for (int t = begin; t < end; ++t) {
      for (int i = 0; i < kDim; ++i) mean[i] += heads()[h].plain_k[t * kDim + i] / (end - begin);
    }
    Layer x;
    for (int t = begin; t < end; ++t) {
      Vector key(kDim);
      for (int i = 0; i < kDim; ++i) key[i] = heads()[h].plain_k[t * kDim + i] - mean[i];
      x.push_back(sketch(key, h));
    }
    const size_t n = x[0].size();
    Layer gram(n, Vector(n));
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (const Vector& row : x) gram[i][j] += row[i] * row[j];
      }
      gram[i][i] += ridge;
    }
    Vector scores;
    for (const Vector& row : x) {
      const Vector y = solved(gram, row);
      scores.push_back(std::inner_product(y.begin(), y.end(), row.begin(), 0.0));
    }
    layer.push_back(scores);
  }
  standardise(layer);
  return layer;
}

Vector as_it_is(const Vector& key, int) {
  return key;
}

// The random matrix of a seed by its formula, number by number.
Sketch projection(uint64_t seed, int width) {
  return [=](const Vector& key, int head) {
    Vector x(width);
    for (int i = 0; i < kDim; ++i) {
      for (int c = 0; c < width; ++c) {
        const auto number = static_cast<uint64_t>(2 * (i * width + c));
        const double u1 = entry_uniform(seed, 0, 0, static_cast<uint64_t>(head), number);
        const double u2 = entry_uniform(seed, 0, 0, static_cast<uint64_t>(head), number + 1);
        x[c] += key[i] * std::sqrt(-2 * std::log(1 - u1)) * std::cos(2 * std::numbers::pi * u2) /
                std::sqrt(static_cast<double>(width));
      }
    }
    return x;
  };
}

TEST(ContextScorers, LeverageIsOfCentredKeysBeforeRotary) {
  expect_near(score("leverage_score(keep=0.5,sketch=0)"), leverage(0, kTokens, 0.01, as_it_is), 1e-4);
  expect_near(score("leverage_score(keep=0.5,sketch=0,ridge=50)"), leverage(0, kTokens, 50, as_it_is), 1e-4);
}

TEST(ContextScorers, LeverageOfASketchThatBelongsToTheSeed) {
  expect_near(score("leverage_score(keep=0.5,sketch=3)"), leverage(0, kTokens, 0.01, projection(0, 3)), 1e-4);
  expect_near(score("leverage_score(keep=0.5,sketch=5,seed=7)"), leverage(0, kTokens, 0.01, projection(7, 5)),
              1e-4);
}

TEST(ContextScorers, CompactorBlendsByWhatGoes) {
  const auto expect = [](const std::string& recipe, int sinks, int window, double blend,
                         const std::string& pad) {
    SCOPED_TRACE(recipe);
    const Layer own = score(recipe);
    const int end = kTokens - window;
    const Layer first = leverage(sinks, end, 0.01, as_it_is), second = attention(sinks, end, 32, 1, pad);
    for (int h = 0; h < kHeads; ++h) {
      for (int t = 0; t < kTokens; ++t) {
        if (t < sinks || t >= end) {
          EXPECT_TRUE(std::isinf(own[h][t])) << t;
        } else {
          EXPECT_NEAR(own[h][t], blend * first[h][t - sinks] + second[h][t - sinks], 2e-4) << t;
        }
      }
    }
  };
  expect("compactor(keep=0.25,chunk=32,sketch=0)", 8, 4, 0.75, "kvpress");
  expect("compactor(keep=0.25,chunk=32,sketch=0,blend=2,pad=none)", 8, 4, 2, "none");
  expect("compactor(size=30,chunk=32,sketch=0,sinks=2,window=0)", 2, 0, 0.6, "kvpress");
}

// The share of a layer's attention that its last queries pay to the first entries and the latest ones.
double lazy_share(int sinks, int recent, int last) {
  double share = 0;
  for (const Head& head : heads()) {
    for (int q = kTokens - last; q < kTokens; ++q) {
      for (int g = 0; g < kGroup; ++g) {
        double sum = 0, part = 0;
        for (int j = 0; j <= q; ++j) {
          const double e = std::exp(head.dot(q, g, j) / std::sqrt(double{kDim}));
          sum += e;
          if (j < sinks || (j >= kTokens - last - recent && j < kTokens - last)) part += e;
        }
        share += part / sum / (last * kGroup * kHeads);
      }
    }
  }
  return share;
}

TEST(ContextScorers, SimLayerKvTellsLazyLayersByTheirLastQueries) {
  for (const auto& [sinks, recent, last] : {std::array{4, 20, 1}, {0, 30, 3}, {2, 10, 5}}) {
    const double share = lazy_share(sinks, recent, last);
    const auto kept = [&, sinks = sinks, recent = recent, last = last](double lazy) {
      const Layer own =
          score("simlayerkv(sinks=" + std::to_string(sinks) + ",recent=" + std::to_string(recent) +
                ",last=" + std::to_string(last) + ",lazy=" + std::to_string(lazy) + ")");
      for (int t = 0; t < kTokens; ++t) EXPECT_EQ(own[0][t], own[1][t]) << "the same for all heads";
      return own[0];
    };
    EXPECT_EQ(kept(share + 1e-4), Vector(kTokens, 1.0)) << "not lazy: all stay";
    const Vector lazy = kept(share - 1e-4);
    for (int t = 0; t < kTokens; ++t)
      EXPECT_EQ(lazy[t], t < sinks || t >= kTokens - recent + last ? 1 : -1) << t;
  }
}

TEST(ContextScorers, SimLayerKvLeavesShortContextsAlone) {
  EXPECT_EQ(score("simlayerkv(sinks=4,recent=70,last=1,lazy=0)")[0], Vector(kTokens, 1.0));
  EXPECT_EQ(score("simlayerkv(sinks=4,recent=69,last=1,lazy=0)")[0][4], -1.0);
}

TEST(ContextScorers, WhatMakesNoSenseIsRefused) {
  const auto refusal = [](const std::string& recipe) { return testing::error_text([&] { score(recipe); }); };
  EXPECT_THAT(refusal("simlayerkv(recent=4,last=4)"), HasSubstr("recent=4 is not above last=4"));
  EXPECT_THAT(refusal("simlayerkv(keep=0.5)"), HasSubstr("takes no keep: it decides for each layer"));
  EXPECT_THAT(refusal("simlayerkv(window=8)"), HasSubstr("takes no window"));
  EXPECT_THAT(refusal("adakv(of=simlayerkv)"), HasSubstr("says itself what goes"));
  EXPECT_THAT(refusal("two_phase(context=none,decode=simlayerkv)"), HasSubstr("needs a whole context"));
  EXPECT_THAT(refusal("leverage_score(keep=0.5,every=4)"), HasSubstr("leave 'every' out"));
  EXPECT_THAT(refusal("compactor(threshold=0)"), HasSubstr("takes no threshold: its blend"));
}

// Scores are made comparable over the layer, so heads may share its budget by them.
TEST(ContextScorers, AdaKvSharesALayersBudgetByItsScores) {
  constexpr double kKeep = 0.25;
  constexpr int kContext = 96;
  const std::vector<int32_t> tokens = testing::random_tokens(kContext, 5);
  for (const std::string scorer : {"leverage_score", "compactor(sinks=0,window=0)", "non_causal_attention"}) {
    SCOPED_TRACE(scorer);
    testing::RunPlan plan;
    plan.context = kContext;
    const auto kept = [&](double safeguard) {
      return testing::run(testing::method_of("adakv(of=" + scorer + ",keep=" + std::to_string(kKeep) +
                                             ",safeguard=" + std::to_string(safeguard) + ")"),
                          tokens, plan)
          .live;
    };
    const auto live = kept(0), even = kept(1);
    const int in_layer = testing::tiny_shape().kv_heads;
    bool uneven = false;
    for (size_t i = 0; i < live.size(); i += in_layer) {
      size_t sum = 0;
      for (int h = 0; h < in_layer; ++h) sum += live[i + h].size();
      EXPECT_EQ(sum, static_cast<size_t>(kContext * kKeep) * in_layer);
      uneven = uneven || live[i].size() != live[i + 1].size();
      EXPECT_EQ(even[i].size(), static_cast<size_t>(kContext * kKeep));
    }
    EXPECT_TRUE(uneven) << "heads differ in what they hold";
  }
}

}  // namespace
}  // namespace kvlab
