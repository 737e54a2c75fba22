#include "cache/two_phase_reference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "cache/query_memory.h"
#include "kernels/attention.h"
#include "kernels/rotary_table.h"

namespace kvlab::testing {

namespace {

using Positions = std::vector<int32_t>;

// What one method knows after the tokens so far. It watches all of them, whether it acts or not.
class Watcher {
 public:
  Watcher(const LayerData& data, const NaivePhase& phase)
      : data_(data), phase_(phase), state_(data.shape.kv_heads) {}

  bool joint() const {
    return phase_.method && phase_.method->weights() && phase_.method->weights()->joint_heads();
  }

  // The weights of one query, [group][live], on the live entries of a head.
  void observe(int head, const Positions& live, const std::vector<float>& weights) {
    const WeightsScorer* scorer = phase_.method ? phase_.method->weights() : nullptr;
    if (!scorer) return;
    auto& carried = state_[joint() ? 0 : head];
    const auto count = static_cast<int64_t>(live.size());
    const int width = scorer->state_width();
    std::vector<float> state(static_cast<size_t>(width) * count);
    for (int64_t s = 0; s < count; ++s) {
      std::vector<float>& own = carried[live[s]];
      own.resize(width);
      for (int w = 0; w < width; ++w) state[w * count + s] = own[w];
    }
    scorer->observe({weights.data(), count, data_.shape.group(), static_cast<int>(count), state.data(), count,
                     joint() ? head : 0, joint() ? data_.shape.kv_heads : 1});
    for (int64_t s = 0; s < count; ++s) {
      for (int w = 0; w < width; ++w) carried[live[s]][w] = state[w * count + s];
    }
  }

  // Positions that go after n tokens.
  Positions act(int head, int64_t n, const Positions& live, EvictionCounts& counts) const {
    std::vector<float> by_position(static_cast<size_t>(n));
    const std::vector<float> scores = score(head, n, live);
    for (size_t s = 0; s < live.size(); ++s) by_position[live[s]] = scores[s];
    return naive_action(phase_.policy, n, live, by_position, counts);
  }

 private:
  std::vector<float> score(int head, int64_t n, const Positions& live) const {
    if (phase_.method->fixed()) return fixed_scores(head, live);
    if (phase_.method->weights()) return weights_scores(head, n, live);
    return periodic_scores(head, n, live);
  }

  std::vector<float> fixed_scores(int head, const Positions& live) const {
    const ModelShape& shape = data_.shape;
    const int64_t stride = int64_t{shape.kv_heads} * shape.head_dim;
    std::vector<float> scores, row(shape.kv_heads);
    for (const int32_t p : live) {
      phase_.method->fixed()->score(
          {0, p, 1, data_.k.data() + p * stride, data_.v.data() + p * stride, stride, nullptr, 0},
          row.data());
      scores.push_back(row[head]);
    }
    return scores;
  }

  std::vector<float> weights_scores(int head, int64_t n, const Positions& live) const {
    const WeightsScorer& scorer = *phase_.method->weights();
    const auto count = static_cast<int64_t>(live.size());
    std::vector<float> state(static_cast<size_t>(scorer.state_width()) * count), scores(count);
    for (int64_t s = 0; s < count; ++s) {
      for (int w = 0; w < scorer.state_width(); ++w)
        state[w * count + s] = state_[joint() ? 0 : head].at(live[s])[w];
    }
    scorer.score(state.data(), count, live, n, scores.data());
    return scores;
  }

  std::vector<float> periodic_scores(int head, int64_t n, const Positions& live) const {
    const ModelShape& shape = data_.shape;
    const PeriodicScorer& scorer = *phase_.method->periodic();
    const int d = shape.head_dim;
    QueryMemory memory(shape.group(), d, scorer.recent_queries(), scorer.query_moments());
    const RotaryTable table(shape.rotary, 0, static_cast<int>(n));
    for (int64_t i = 0; i < n; ++i) {
      const int row = static_cast<int>(i);
      memory.append(data_.q.data() + (i * shape.query_heads + int64_t{head} * shape.group()) * d, d,
                    table.cos_row(row), table.sin_row(row), table.pairs, i >= phase_.policy.sinks);
    }
    std::vector<float> k, v, scores(live.size());
    for (const int32_t p : live) {
      const int64_t at = (int64_t{p} * shape.kv_heads + head) * d;
      k.insert(k.end(), data_.k.begin() + at, data_.k.begin() + at + d);
      v.insert(v.end(), data_.v.begin() + at, data_.v.begin() + at + d);
    }
    scorer.score({0, n, phase_.policy.sinks, live, k.data(), v.data(), &memory}, scores.data());
    return scores;
  }

  const LayerData& data_;
  const NaivePhase& phase_;
  std::vector<std::map<int32_t, std::vector<float>>> state_;  // by head and position
};

// Attention of query i of a head: weights [group][live], outputs written to `out`.
std::vector<float> attend(const LayerData& data, int head, int64_t i, const Positions& live, float* out) {
  const ModelShape& shape = data.shape;
  const int d = shape.head_dim;
  std::vector<float> weights;
  for (int g = 0; g < shape.group(); ++g) {
    const int64_t query = (i * shape.query_heads + int64_t{head} * shape.group() + g) * d;
    std::vector<double> terms;
    double sum = 0;
    for (const int32_t p : live) {
      double dot = 0;
      for (int c = 0; c < d; ++c)
        dot += static_cast<double>(data.q[query + c]) * data.k[(int64_t{p} * shape.kv_heads + head) * d + c];
      terms.push_back(std::exp(dot / std::sqrt(d)));
      sum += terms.back();
    }
    for (int c = 0; c < d; ++c) {
      double mixed = 0;
      for (size_t s = 0; s < live.size(); ++s)
        mixed += terms[s] / sum * data.v[(int64_t{live[s]} * shape.kv_heads + head) * d + c];
      out[query + c] = static_cast<float>(mixed);
    }
    for (const double term : terms) weights.push_back(static_cast<float>(term / sum));
  }
  return weights;
}

}  // namespace

LayerData::LayerData(const ModelShape& model, int64_t count, uint64_t seed) : shape(model), tokens(count) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  const auto fill = [&](std::vector<float>& values, int heads) {
    values.resize(static_cast<size_t>(tokens) * heads * shape.head_dim);
    for (float& value : values) value = normal(generator);
  };
  fill(q, shape.query_heads);
  fill(k, shape.kv_heads);
  fill(v, shape.kv_heads);
}

LayerOutcome naive_two_phase(const LayerData& data, const NaivePhase& context, const NaivePhase& decode,
                             int64_t context_tokens) {
  const int heads = data.shape.kv_heads;
  LayerOutcome outcome;
  outcome.evict_at.assign(heads, std::vector<int32_t>(static_cast<size_t>(data.tokens), kNever));
  outcome.out.resize(data.q.size());
  Watcher first(data, context), second(data, decode);
  std::vector<Positions> live(heads);
  for (int64_t n = 1; n <= data.tokens; ++n) {
    for (int head = 0; head < heads; ++head) {
      live[head].push_back(static_cast<int32_t>(n - 1));
      const std::vector<float> weights = attend(data, head, n - 1, live[head], outcome.out.data());
      if (n <= context_tokens) first.observe(head, live[head], weights);
      second.observe(head, live[head], weights);
    }
    const bool ends = n == context_tokens && context.method;
    const bool streams = n > context_tokens && decode.method && n % decode.policy.every == 0;
    if (!ends && !streams) continue;
    const Watcher& acting = ends ? first : second;
    const std::vector<Positions> before = live;
    for (int head = 0; head < heads; ++head) {
      for (const int32_t p : acting.act(acting.joint() ? 0 : head, n, before[head], outcome.counts)) {
        outcome.evict_at[head][p] = static_cast<int32_t>(n);
        std::erase(live[head], p);
      }
    }
  }
  return outcome;
}

LayerOutcome run_cache(const LayerData& data, std::shared_ptr<const Method> method,
                       const std::vector<int>& blocks, int64_t context_tokens) {
  CacheOptions options;
  options.record_lifetimes = true;
  const ModelShape& shape = data.shape;
  const int64_t q_stride = int64_t{shape.query_heads} * shape.head_dim;
  const int64_t kv_stride = int64_t{shape.kv_heads} * shape.head_dim;
  std::vector<float> k = data.k, v = data.v;  // the cache rounds in place
  LayerOutcome outcome;
  outcome.out.resize(data.q.size());
  KvCache cache(std::move(method), options);
  int64_t at = 0;
  for (const int count : blocks) {
    cache.begin(count, (count + kQueryBlock - 1) / kQueryBlock);
    for (int done = 0, piece = 0; done < count; done += kQueryBlock, ++piece) {
      const int64_t first = at + done;
      const LayerBlock block = {0,
                                first,
                                std::min(kQueryBlock, count - done),
                                piece,
                                data.q.data() + first * q_stride,
                                k.data() + first * kv_stride,
                                v.data() + first * kv_stride,
                                q_stride,
                                kv_stride,
                                nullptr,
                                outcome.out.data() + first * q_stride,
                                q_stride};
      cache.prepare(block);
      for (int chain = 0; chain < cache.chains(); ++chain) cache.attend(block, chain);
    }
    cache.end();
    at += count;
    if (at == context_tokens) cache.end_context();
  }
  outcome.evict_at = cache.lifetimes().evict_at;
  outcome.counts = cache.evictions();
  return outcome;
}

}  // namespace kvlab::testing
