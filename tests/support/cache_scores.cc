#include "support/cache_scores.h"

namespace kvlab::testing {

namespace {

// Nothing has gone, so slots are in order of position.
std::vector<float> periodic_scores(const KvCache& cache, int layer, int head) {
  const HeadStore& store = cache.store(layer, head);
  const int d = cache.method().shape.head_dim;
  std::vector<float> k(static_cast<size_t>(store.size()) * d), v(k.size()), scores(store.size());
  for (int s = 0; s < store.size(); ++s)
    store.read(s, k.data() + static_cast<size_t>(s) * d, v.data() + static_cast<size_t>(s) * d);
  const std::vector<int32_t> positions = store.positions();
  cache.method().periodic()->score({layer, cache.tokens(), cache.method().spec.policy.sinks, positions,
                                    k.data(), v.data(), cache.queries(layer, head), head},
                                   scores.data());
  return scores;
}

}  // namespace

std::vector<float> scores_of(const KvCache& cache, int layer, int head) {
  if (cache.method().periodic()) return periodic_scores(cache, layer, head);
  const WeightsScorer* weights = cache.method().weights();
  // Heads that decide together carry their state once.
  const HeadStore& store = cache.store(layer, weights && weights->joint_heads() ? 0 : head);
  const int width = weights ? weights->state_width() : 1;
  std::vector<float> state(static_cast<size_t>(width) * store.size()), scores(store.size());
  for (int w = 0; w < width; ++w) {
    for (int s = 0; s < store.size(); ++s)
      state[static_cast<size_t>(w) * store.size() + s] = store.state(w, s);
  }
  if (!weights) return state;
  weights->score(state.data(), store.size(), store.positions(), cache.tokens(), scores.data());
  return scores;
}

}  // namespace kvlab::testing
