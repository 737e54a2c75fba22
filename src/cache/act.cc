// Actions that more takes part in than a scorer and a limit: wrappers, which see the heads of a layer or of
// the model together, and scorers that see a whole layer. Heads' entries are collected in order of position
// and scored, the wrappers change scores and limits, then each head's entries of least score go, and last
// the wrappers may change what stays.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/threads.h"
#include "cache/attend_scratch.h"
#include "cache/kv_cache.h"
#include "cache/query_memory.h"

namespace kvlab {

namespace {

bool any_wants_entries(const Method& method, size_t first = 0) {
  return std::any_of(method.wrappers.begin() + static_cast<ptrdiff_t>(first), method.wrappers.end(),
                     [](const auto& wrapper) { return wrapper->wants_entries(); });
}

// Actions as wrappers see them.
std::vector<ActingHead> views_of(const Method& method, DType type, int layer, int first_head, int64_t n,
                                 std::span<HeadAction> actions) {
  std::vector<ActingHead> views;
  for (size_t h = 0; h < actions.size(); ++h) {
    HeadAction& action = actions[h];
    const int head = first_head + static_cast<int>(h);
    const Policy policy = method.policy_of(layer, head, type);
    views.push_back({head, policy.sinks, n - policy.window_at(n), action.positions, action.scores,
                     action.limit, action.exact_limit, action.k.size() ? action.k.data() : nullptr,
                     action.v.size() ? action.v.data() : nullptr, action.given, action.stays,
                     action.changed});
  }
  return views;
}

int64_t scored_apart(const Method& method) {
  for (const auto& wrapper : method.wrappers) {
    if (wrapper->scored_apart() > 0) return wrapper->scored_apart();
  }
  return 0;
}

// Those that change entries may ask what the scorer said of them.
void keep_given(const Method& method, std::span<HeadAction> actions) {
  if (!method.revises()) return;
  for (HeadAction& action : actions) action.given = action.scores;
}

void set_limit(int64_t limit, HeadAction& action) {
  if (limit != action.limit) action.exact_limit = static_cast<double>(limit);
  action.limit = limit;
}

size_t model_wrapper(const Method& method) {
  const auto& all = method.wrappers;
  return static_cast<size_t>(
      std::find_if(all.begin(), all.end(), [](const auto& wrapper) { return wrapper->whole_model(); }) -
      all.begin());
}

}  // namespace

void KvCache::collect(int layer, int head, int64_t n, bool with_entries, HeadAction& action) const {
  const HeadStore& store = stores_[index(layer, head)];
  const Policy policy = acting().policy_of(layer, head, options_.type);
  const auto count = static_cast<size_t>(store.size());
  const int d = method_->shape.head_dim;
  action.limit = policy.threshold() ? store.size() : policy.limit_at(n);
  action.exact_limit = policy.threshold() ? store.size() : policy.exact_limit_at(n);
  action.order.resize(count);
  std::iota(action.order.begin(), action.order.end(), 0);
  std::sort(action.order.begin(), action.order.end(),
            [&](int32_t a, int32_t b) { return store.position(a) < store.position(b); });
  action.positions.resize(count);
  action.scores.assign(count, 0.0f);
  action.stays.assign(count, 1);
  action.changed.assign(count, 0);
  if (with_entries) {
    action.k.reserve_discard(count * d);
    action.v.reserve_discard(count * d);
  } else {
    action.k = {};
    action.v = {};
  }
  for (size_t i = 0; i < count; ++i) {
    action.positions[i] = store.position(action.order[i]);
    if (with_entries) store.read(action.order[i], action.k.data() + i * d, action.v.data() + i * d);
  }
}

// Periodic and context scorers, which see keys, values and past queries; of each chunk of the tokens alone
// where a wrapper wants it so.
void KvCache::score_anew(int layer, int first_head, int64_t n, std::span<HeadAction> actions) const {
  const Method& method = acting();
  const int64_t chunk = scored_apart(method), step = chunk > 0 ? chunk : std::max<int64_t>(1, n);
  const int d = method_->shape.head_dim;
  for (int64_t first = 0; first < n; first += step) {
    std::vector<PeriodicView> views;
    std::vector<float*> out;
    for (size_t h = 0; h < actions.size(); ++h) {
      HeadAction& action = actions[h];
      const auto at = [&](int64_t position) {
        return std::lower_bound(action.positions.begin(), action.positions.end(), position) -
               action.positions.begin();
      };
      const auto begin = at(first), end = at(first + step);
      if (begin == end) continue;
      const int head = first_head + static_cast<int>(h);
      const Policy policy = method.policy_of(layer, head, options_.type);
      PeriodicView view;
      view.layer = layer;
      view.n = n;
      view.sinks = policy.sinks;
      view.positions = std::span<const int32_t>(action.positions)
                           .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      view.k = action.k.data() + begin * d;
      view.v = action.v.data() + begin * d;
      view.queries = stages_.back().memories[index(layer, head)].get();
      view.head = head;
      view.window_begin = n - policy.window_at(n);
      view.exact_limit = action.exact_limit;
      views.push_back(view);
      out.push_back(action.scores.data() + begin);
    }
    if (method.context_scorer()) {
      if (!views.empty()) method.context_scorer()->score(views, out);
      continue;
    }
    for (size_t h = 0; h < views.size(); ++h) method.periodic()->score(views[h], out[h]);
  }
}

// Scores of heads that act together, [first_head, first_head + actions.size()).
void KvCache::score(int layer, int first_head, int64_t n, std::span<HeadAction> actions) {
  const Method& method = acting();
  if (given_) {
    for (size_t h = 0; h < actions.size(); ++h) {
      const std::vector<float>& scores = (*given_)[index(layer, first_head + static_cast<int>(h))];
      for (size_t i = 0; i < actions[h].positions.size(); ++i)
        actions[h].scores[i] = scores.at(static_cast<size_t>(actions[h].positions[i]));
    }
    return;
  }
  if (method.wants_queries()) return score_anew(layer, first_head, n, actions);
  // What fixed and weights scorers carry lies in the store, by slot.
  const size_t stage = stages_.size() - 1;
  const bool joint = method.weights() && method.weights()->joint_heads();
  for (size_t h = 0; h < actions.size(); ++h) {
    if (joint && h > 0) {
      actions[h].scores = actions[0].scores;
      continue;
    }
    const int head = first_head + static_cast<int>(h);
    HeadStore& store = entries(layer, head);
    const std::span<const int32_t> positions = store.stored_positions();  // first: it may move the state
    const float* state = store.state_row(first_state(stage, head));
    std::vector<float> by_slot(static_cast<size_t>(store.size()));
    if (method.weights()) {
      method.weights()->score(state, store.state_stride(), positions, n, by_slot.data());
    } else {
      std::copy_n(state, by_slot.size(), by_slot.data());
    }
    for (size_t i = 0; i < by_slot.size(); ++i) actions[h].scores[i] = by_slot[actions[h].order[i]];
  }
}

// The wrappers [first, last) in turn.
void KvCache::adjust(int layer, int first_head, int64_t n, size_t first, size_t last,
                     std::span<HeadAction> actions) {
  for (size_t w = first; w < last; ++w) {
    const Wrapper& wrapper = *acting().wrappers[w];
    std::vector<ActingHead> views = views_of(acting(), options_.type, layer, first_head, n, actions);
    ActingHeads unit{&method_->shape, layer, n, views, options_.document, {}};
    if (wrapper.wants_output()) unit.output = options_.output->layer(layer);
    wrapper.adjust(unit);
    for (size_t h = 0; h < actions.size(); ++h) set_limit(views[h].limit, actions[h]);
  }
}

void KvCache::revise(int layer, int first_head, int64_t n, std::span<HeadAction> actions) {
  for (const auto& wrapper : acting().wrappers) {
    if (!wrapper->revises()) continue;
    std::vector<ActingHead> views = views_of(acting(), options_.type, layer, first_head, n, actions);
    ActingHeads unit{&method_->shape, layer, n, views, options_.document, {}};
    wrapper->revise(unit);
  }
  const int d = method_->shape.head_dim;
  for (size_t h = 0; h < actions.size(); ++h) {
    HeadStore& store = entries(layer, first_head + static_cast<int>(h));
    for (size_t i = 0; i < actions[h].changed.size(); ++i) {
      if (actions[h].changed[i])
        store.write(actions[h].order[i], actions[h].k.data() + i * d, actions[h].v.data() + i * d);
    }
  }
}

void KvCache::choose(int layer, int first_head, int64_t n, std::span<HeadAction> actions,
                     std::vector<int32_t>& gone) {
  for (size_t h = 0; h < actions.size(); ++h) {
    const int head = first_head + static_cast<int>(h);
    changes_[index(layer, head)].counts +=
        act_once(acting().policy_of(layer, head, options_.type), n, actions[h].limit, actions[h].positions,
                 actions[h].scores, gone);
    for (const int32_t i : gone) actions[h].stays[i] = 0;
  }
  if (acting().revises()) revise(layer, first_head, n, actions);
  for (size_t h = 0; h < actions.size(); ++h) {
    gone.clear();
    for (size_t i = 0; i < actions[h].stays.size(); ++i) {
      if (!actions[h].stays[i]) gone.push_back(actions[h].order[i]);
    }
    std::sort(gone.begin(), gone.end(), std::greater<>());
    evict(layer, first_head + static_cast<int>(h), gone, n);
  }
}

void KvCache::act_together(int layer, int first_head, int heads, int64_t n, AttendScratch& scratch) {
  const Method& method = acting();
  if (method.spec.policy.neutral()) return;
  if (!method.spec.policy.threshold()) {
    int64_t live = 0, allowed = 0;
    for (int head = first_head; head < first_head + heads; ++head) {
      live += entries(layer, head).size();
      allowed += method.policy_of(layer, head, options_.type).limit_at(n);
    }
    if (live <= allowed) return;
  }
  scratch.actions.resize(heads);
  const std::span<HeadAction> actions(scratch.actions);
  const bool with_entries = (method.wants_queries() && !given_) || any_wants_entries(method);
  for (int h = 0; h < heads; ++h) collect(layer, first_head + h, n, with_entries, actions[h]);
  score(layer, first_head, n, actions);
  keep_given(method, actions);
  adjust(layer, first_head, n, 0, method.wrappers.size(), actions);
  choose(layer, first_head, n, actions, scratch.gone);
}

// Scores are known for the whole model before anything goes; keys and values are held for a layer at a time.
void KvCache::act_on_model(int64_t n) {
  const Method& method = acting();
  if (method.spec.policy.neutral()) return;
  const size_t split = model_wrapper(method);
  const int layers = method_->shape.layers, heads = method_->shape.kv_heads;
  const bool with_entries = (method.wants_queries() && !given_) || any_wants_entries(method);
  std::vector<HeadAction> all(stores_.size());
  const auto of_layer = [&](int layer) { return std::span(all).subspan(index(layer, 0), heads); };
  parallel_tasks(layers, [&](int layer, int) {
    const std::span<HeadAction> actions = of_layer(layer);
    for (int h = 0; h < heads; ++h) collect(layer, h, n, with_entries, actions[h]);
    score(layer, 0, n, actions);
    keep_given(method, actions);
    adjust(layer, 0, n, 0, split, actions);
    for (HeadAction& action : actions) {
      action.k = {};
      action.v = {};
    }
  });
  std::vector<ActingHead> views;
  for (int layer = 0; layer < layers; ++layer) {
    const std::vector<ActingHead> own = views_of(method, options_.type, layer, 0, n, of_layer(layer));
    views.insert(views.end(), own.begin(), own.end());
  }
  ActingHeads unit{&method_->shape, -1, n, views, options_.document, {}};
  method.wrappers[split]->adjust(unit);
  for (size_t i = 0; i < all.size(); ++i) set_limit(views[i].limit, all[i]);
  parallel_tasks(layers, [&](int layer, int) {
    const std::span<HeadAction> actions = of_layer(layer);
    if (any_wants_entries(method, split + 1) || method.revises()) {
      for (int h = 0; h < heads; ++h) {
        HeadAction again;
        collect(layer, h, n, true, again);
        actions[h].k = std::move(again.k);
        actions[h].v = std::move(again.v);
      }
    }
    adjust(layer, 0, n, split + 1, method.wrappers.size(), actions);
    choose(layer, 0, n, actions, attend_scratch().gone);
  });
}

}  // namespace kvlab
