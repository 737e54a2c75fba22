#include "golden/golden_support.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/scoring.h"

namespace kvlab::testing {

namespace {

// What queries 0 ... n - 1 saw, as a share of n (n + 1) / 2 entries per layer and KV head.
double seen_share(const KvCache& cache) {
  const ModelShape& shape = cache.method().shape;
  const auto n = static_cast<double>(cache.tokens());
  double hidden = 0;
  for (int64_t query = 0; query < cache.tokens(); ++query) {
    if (query >= static_cast<int64_t>(cache.evicted_at().size())) break;
    // An entry that query q is the first to miss is missed by all n - q queries from there on.
    hidden += static_cast<double>(cache.evicted_at()[query]) * (n - static_cast<double>(query));
  }
  return 1 - hidden / (shape.layers * shape.kv_heads * n * (n + 1) / 2);
}

// Positions that one list has and the other has not. Both ascend.
std::vector<int32_t> only_in(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  std::vector<int32_t> difference;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(difference));
  return difference;
}

// Entries of layer 0 that swapped places with an entry of the same token. A layer-0 key before rotary depends
// on the token alone and rotary keeps its norm, so their Knorm scores are equal and only rounding says which
// one stays; the reference decides by its own rounding.
size_t exact_ties(const StreamRun& run, const std::vector<int32_t>& theirs,
                  const std::vector<int32_t>& ours) {
  std::map<int32_t, size_t> missing;
  for (const int32_t position : theirs) ++missing[run.tokens.at(position)];
  size_t ties = 0;
  for (const int32_t position : ours) {
    size_t& left = missing[run.tokens.at(position)];
    if (left == 0) continue;
    --left;
    ties += 2;
  }
  return ties;
}

void expect_live(const StreamRun& run, const MethodSpec& spec, const nlohmann::json& golden,
                 const std::string& name) {
  size_t recorded = 0, different = 0, ties = 0;
  std::string layers;
  for (const auto& [layer, heads] : golden.items()) {
    const size_t before = different;
    for (size_t head = 0; head < heads.size(); ++head) {
      auto expected = heads[head].get<std::vector<int32_t>>();
      std::sort(expected.begin(), expected.end());
      recorded += expected.size();
      const auto& live = run.live.at(std::stoul(layer)).at(head);
      const std::vector<int32_t> theirs = only_in(expected, live), ours = only_in(live, expected);
      different += theirs.size() + ours.size();
      if (layer == "0" && spec.scorer->name == "knorm") ties += exact_ties(run, theirs, ours);
    }
    layers += fmt::format(" {}: {}", layer, different - before);
  }
  fmt::print("  {}: {} of {} live entries differ (by layer{}), {} of them exact ties\n", name, different,
             recorded, layers, ties);
  // Ties are counted apart, and must be rare themselves.
  EXPECT_LE(static_cast<double>(ties), 0.01 * static_cast<double>(recorded)) << name;
  EXPECT_GT(recorded, 0u) << name;
  EXPECT_LE(static_cast<double>(different - ties), 0.005 * static_cast<double>(recorded))
      << name << ", by layer" << layers;
}

}  // namespace

nlohmann::json read_json(const std::string& path) {
  return nlohmann::json::parse(read_text(path));
}

std::shared_ptr<const Model> open_and_load(const std::string& path, DType type) {
  return load_model(open_model(path), {type});
}

double StreamRun::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

double StreamRun::ppl() const {
  return std::exp(mean_nll());
}

StreamRun run_stream(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                     std::span<const int32_t> tokens, DType kv_type) {
  const ModelShape shape = shape_of(model->config());
  CacheOptions options;
  options.type = kv_type;
  Session session(model, make_method(spec, shape), options);
  const HiddenStates states = session.extend(tokens);
  StreamRun run;
  run.tokens.assign(tokens.begin(), tokens.end());
  run.nll = token_losses(*model, states, tokens.subspan(1));
  const double all = static_cast<double>(tokens.size()) * shape.layers * shape.kv_heads;
  run.evicted = 1 - static_cast<double>(session.cache().live_entries()) / all;
  run.seen = seen_share(session.cache());
  run.live.resize(shape.layers);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      run.live[layer].push_back(session.cache().store(layer, head).positions());
      std::sort(run.live[layer].back().begin(), run.live[layer].back().end());
    }
  }
  return run;
}

LossDistance loss_distance(const std::vector<float>& run, const nlohmann::json& golden) {
  LossDistance distance;
  EXPECT_LE(run.size(), golden.size());
  for (size_t i = 0; i < run.size(); ++i) {
    const double difference = std::fabs(run[i] - golden.at(i).get<double>());
    distance.mean += difference / static_cast<double>(run.size());
    distance.most = std::max(distance.most, difference);
  }
  return distance;
}

void expect_baseline(const StreamRun& run, const nlohmann::json& golden, const std::string& name) {
  const LossDistance distance = loss_distance(run.nll, golden.at("nll"));
  fmt::print("  {}: baseline losses differ by {:.2g} on average, {:.2g} at most\n", name, distance.mean,
             distance.most);
  EXPECT_LE(distance.mean, 1e-4) << name;
  EXPECT_LE(distance.most, 2e-3) << name;
}

void expect_stream(const StreamRun& run, const MethodSpec& spec, const nlohmann::json& golden,
                   const std::string& name) {
  // Where the choice does not hang on attention weights or on the order of near-equal scores, losses are
  // exact.
  const bool exact = spec.policy.threshold() || spec.scorer->recency;
  const LossDistance distance = loss_distance(run.nll, golden.at("nll"));
  fmt::print("  {}: losses differ by {:.2g} on average, {:.2g} at most; evicted {:.5f}, seen {:.5f}\n", name,
             distance.mean, distance.most, run.evicted, run.seen);
  EXPECT_EQ(run.nll.size(), golden.at("nll").size()) << name;
  EXPECT_LE(distance.mean, exact ? 1e-4 : 2e-3) << name;
  if (golden.contains("evicted")) {
    EXPECT_NEAR(run.evicted, golden["evicted"].get<double>(), 1e-3) << name;
  }
  if (golden.contains("seen")) {
    EXPECT_NEAR(run.seen, golden["seen"].get<double>(), 1e-3) << name;
  }
  if (golden.contains("live_at_end")) expect_live(run, spec, golden["live_at_end"], name);
}

bool registered(const std::string& recipe) {
  const std::string name = parse_recipe(recipe).parts.front().name;
  const auto has_name = [&](const auto* info) { return info->name == name; };
  return std::any_of(registry_scorers().begin(), registry_scorers().end(), has_name) ||
         std::any_of(registry_named().begin(), registry_named().end(), has_name);
}

void check_stream_section(const std::shared_ptr<const Model>& model, const nlohmann::json& section,
                          std::span<const int32_t> tokens, const RecipeDefaults& defaults) {
  int ran = 0;
  std::string skipped;
  for (const auto& [recipe, golden] : section.items()) {
    if (!registered(recipe)) {
      skipped += (skipped.empty() ? "" : " ") + parse_recipe(recipe).parts.front().name;
      fmt::print("  {}: skipped, this build has no such scorer\n", recipe);
      continue;
    }
    const MethodSpec spec = resolve_recipe(recipe, defaults);
    expect_stream(run_stream(model, spec, tokens, DType::kF32), spec, golden, recipe);
    ++ran;
  }
  ::testing::Test::RecordProperty("recipes_run", ran);
  if (!skipped.empty()) ::testing::Test::RecordProperty("scorers_not_registered", skipped);
  EXPECT_GT(ran, 0) << "no recipe of the section could run";
}

}  // namespace kvlab::testing
