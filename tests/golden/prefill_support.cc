#include "golden/prefill_support.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/scoring.h"
#include "support/cache_scores.h"

namespace kvlab::testing {

namespace {

PerHead scores_of_all(const KvCache& cache) {
  const Method& method = cache.method();
  PerHead scores(method.shape.layers);
  if (!method.scorer || method.planned()) return {};
  for (int layer = 0; layer < method.shape.layers; ++layer) {
    for (int head = 0; head < method.shape.kv_heads; ++head)
      scores[layer].push_back(scores_of(cache, layer, head));
  }
  return scores;
}

PerHead live_entries(const KvCache& cache, int64_t context) {
  const ModelShape& shape = cache.method().shape;
  PerHead live(shape.layers);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      live[layer].emplace_back(static_cast<size_t>(context));
      for (const int32_t position : cache.store(layer, head).positions()) live[layer][head][position] = 1;
    }
  }
  return live;
}

HiddenStates last_row(const HiddenStates& states) {
  HiddenStates last;
  last.rows = 1;
  last.size = states.size;
  last.values = Buffer<float>(static_cast<size_t>(states.size));
  std::copy_n(states.row(states.rows - 1), states.size, last.values.data());
  return last;
}

// What the session finds when the context ends.
PerHead reconstructed(const Session& session, std::span<const int32_t> context, const Reconstruction& how) {
  const ModelShape& shape = session.cache().method().shape;
  const ReconstructedScores found = reconstruct_scores(session, context, how);
  PerHead scores(shape.layers);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const auto first = found.scores.begin() + int64_t{1} * layer * shape.kv_heads;
    scores[layer].assign(first, first + shape.kv_heads);
  }
  return scores;
}

}  // namespace

std::shared_ptr<const ReconstructionPrompts> chatless_prompts(const Tokenizer& tokenizer) {
  ReconstructionPrompts prompts = reconstruction_prompts(tokenizer);
  prompts.suffix = tokenizer.encode("\n");
  return std::make_shared<const ReconstructionPrompts>(std::move(prompts));
}

int Continuation::count(int layer, int head) const {
  const auto& live = kept.at(layer).at(head);
  return static_cast<int>(std::count(live.begin(), live.end(), 1.0f));
}

Continuation run_prefill(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                         std::span<const int32_t> tokens, int64_t context, const CacheOptions& options) {
  Session session(model, make_method(spec, shape_of(model->config())), options);
  const auto length = static_cast<size_t>(context);
  const HiddenStates first = session.extend(tokens.first(length));
  Continuation result;
  const auto how = reconstruction_of(session.cache());
  result.scores = how ? reconstructed(session, tokens.first(length), *how) : scores_of_all(session.cache());
  session.end_context();
  result.kept = live_entries(session.cache(), context);
  result.nll = token_losses(*model, last_row(first), tokens.subspan(length, 1));
  const HiddenStates rest = session.extend(tokens.subspan(length));
  const auto more = token_losses(*model, rest, tokens.subspan(length + 1));
  result.nll.insert(result.nll.end(), more.begin(), more.end());
  return result;
}

std::optional<MethodSpec> known_recipe(const std::string& recipe, std::string& why) {
  try {
    return resolve_recipe(recipe, {});
  } catch (const UserError& error) {
    why = error.what();
    return std::nullopt;
  }
}

double score_floor(const std::vector<double>& scores) {
  double sum = 0, squares = 0, least = 0, highest = 0;
  for (const double score : scores) {
    least = std::min(least, score), highest = std::max(highest, score);
    sum += score, squares += score * score;
  }
  if (least == 0 || highest == 0) return 0;
  const auto count = static_cast<double>(scores.size());
  return 0.01 * std::sqrt(squares / count - sum / count * (sum / count));
}

bool wraps(const std::string& recipe) {
  return recipe.find("of=") != std::string::npos;
}

}  // namespace kvlab::testing
