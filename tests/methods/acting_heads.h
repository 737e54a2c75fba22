// Heads of a layer at an action, from plain vectors: what wrappers are shown in their tests.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cache/recipe.h"
#include "cache/wrapper.h"

namespace kvlab::testing {

inline std::unique_ptr<Wrapper> make_wrapper(const std::string& name,
                                             const std::vector<std::pair<std::string, Value>>& values = {}) {
  for (const WrapperInfo* info : registry_wrappers()) {
    if (info->name != name) continue;
    Values all(info->fields);
    for (const auto& [field, value] : values) all.set(field, value);
    return info->create(all);
  }
  return nullptr;
}

struct TestHead {
  std::vector<int32_t> positions;
  std::vector<float> scores, given, k, v;
  std::vector<uint8_t> stays, changed;
};

// A layer of `heads` KV heads with random scores, keys and values of tokens 0, ..., n - 1.
struct TestLayer {
  ModelShape shape;
  std::vector<TestHead> heads;
  std::vector<ActingHead> views;
  std::vector<float> output;
  ActingHeads unit;

  TestLayer(ModelShape of, int n, int64_t limit, uint64_t seed) : shape(std::move(of)) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& values, size_t count) {
      for (size_t i = 0; i < count; ++i) values.push_back(normal(random));
    };
    heads.resize(static_cast<size_t>(shape.kv_heads));
    for (TestHead& head : heads) {
      head.positions.resize(static_cast<size_t>(n));
      std::iota(head.positions.begin(), head.positions.end(), 0);
      fill(head.scores, head.positions.size());
      for (float& score : head.scores) score = std::abs(score);
      head.given = head.scores;
      fill(head.k, head.positions.size() * static_cast<size_t>(shape.head_dim));
      fill(head.v, head.positions.size() * static_cast<size_t>(shape.head_dim));
      head.stays.assign(head.positions.size(), 1);
      head.changed.assign(head.positions.size(), 0);
    }
    fill(output, static_cast<size_t>(shape.query_heads) * shape.head_dim * shape.hidden);
    for (int h = 0; h < shape.kv_heads; ++h) {
      TestHead& head = heads[static_cast<size_t>(h)];
      ActingHead view;
      view.head = h;
      view.window_begin = n;
      view.positions = head.positions;
      view.scores = head.scores;
      view.given_scores = head.given;
      view.limit = limit;
      view.exact_limit = static_cast<double>(limit);
      view.k = head.k.data();
      view.v = head.v.data();
      view.stays = head.stays;
      view.changed = head.changed;
      views.push_back(view);
    }
    unit.shape = &shape;
    unit.n = n;
    unit.heads = views;
    unit.output = output;
  }
  TestLayer(const TestLayer&) = delete;
  TestLayer& operator=(const TestLayer&) = delete;

  void protect(int64_t sinks, int64_t window) {
    for (ActingHead& view : views) {
      view.sinks = sinks;
      view.window_begin = unit.n - window;
    }
  }
  // The positions that stay of a head: the protected ones, then those of highest score.
  std::set<int32_t> kept(int h) const {
    const ActingHead& view = views[static_cast<size_t>(h)];
    std::vector<size_t> order(view.positions.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      if (view.is_protected(a) != view.is_protected(b)) return view.is_protected(a);
      return view.scores[a] != view.scores[b] ? view.scores[a] > view.scores[b]
                                              : view.positions[a] > view.positions[b];
    });
    std::set<int32_t> stay;
    for (size_t r = 0; r < order.size(); ++r) {
      if (static_cast<int64_t>(r) < view.limit || view.is_protected(order[r]))
        stay.insert(view.positions[order[r]]);
    }
    return stay;
  }
};

}  // namespace kvlab::testing
