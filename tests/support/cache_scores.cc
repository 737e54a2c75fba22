#include "support/cache_scores.h"

#include <memory>

namespace kvlab::testing {

namespace {

// The entries of a head. Nothing has gone, so slots are in order of position.
struct Entries {
  std::vector<int32_t> positions;
  std::vector<float> k, v, scores;
  PeriodicView view;

  Entries(const KvCache& cache, int layer, int head) {
    const HeadStore& store = cache.store(layer, head);
    const auto d = static_cast<size_t>(cache.method().shape.head_dim);
    positions = store.positions();
    k.resize(positions.size() * d);
    v.resize(k.size());
    scores.resize(positions.size());
    for (size_t s = 0; s < positions.size(); ++s)
      store.read(static_cast<int>(s), k.data() + s * d, v.data() + s * d);
    const Policy policy = cache.method().policy_of(layer, head, cache.options().type);
    const int64_t n = cache.tokens();
    view = {layer, n, policy.sinks, positions, k.data(), v.data(), cache.queries(layer, head)};
    view.head = head;
    view.window_begin = n - policy.window_at(n);
    view.exact_limit = policy.threshold() ? static_cast<double>(n) : policy.exact_limit_at(n);
  }
};

std::vector<float> periodic_scores(const KvCache& cache, int layer, int head) {
  Entries entries(cache, layer, head);
  cache.method().periodic()->score(entries.view, entries.scores.data());
  return entries.scores;
}

// The heads of a layer are scored together.
std::vector<float> context_scores(const KvCache& cache, int layer, int head) {
  std::vector<std::unique_ptr<Entries>> heads;
  std::vector<PeriodicView> views;
  std::vector<float*> out;
  for (int h = 0; h < cache.method().shape.kv_heads; ++h) {
    heads.push_back(std::make_unique<Entries>(cache, layer, h));
    views.push_back(heads.back()->view);
    out.push_back(heads.back()->scores.data());
  }
  cache.method().context_scorer()->score(views, out);
  return heads[static_cast<size_t>(head)]->scores;
}

}  // namespace

std::vector<float> scores_of(const KvCache& cache, int layer, int head) {
  if (cache.method().context_scorer()) return context_scores(cache, layer, head);
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
