#include "contract/harness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

#include "base/random.h"
#include "support/cache_scores.h"
#include "support/tiny_architectures.h"
#include "support/tiny_model.h"

namespace kvlab::testing {

namespace {

TempFolder& folder() {
  static TempFolder instance;
  return instance;
}

// Random scores of ten documents, for recipes of the external scorer.
std::string scores_file() {
  const std::filesystem::path path = folder().path() / "scores.safetensors";
  if (std::filesystem::exists(path)) return path.string();
  const ModelShape shape = tiny_shape();
  std::mt19937 random(23);
  std::vector<NamedTensor> tensors;
  for (int document = 0; document < 10; ++document) {
    constexpr int64_t kTokens = 600;
    tensors.push_back({fmt::format("scores.{}", document), {shape.layers, shape.kv_heads, kTokens}, {}});
    for (int64_t i = 0; i < shape.layers * shape.kv_heads * kTokens; ++i)
      tensors.back().values.push_back(static_cast<float>(random()) * 0x1p-32f);
  }
  write_safetensors(path.string(), tensors);
  return path.string();
}

// Uneven budgets, by KV head or by layer only.
std::string budget_file(bool by_head) {
  const std::filesystem::path path = folder().path() / (by_head ? "by_head.json" : "by_layer.json");
  std::ofstream(path) << (by_head ? R"({"keep": [[0.2, 0.4], [0.45, 0.25], [0.3, 0.3]]})"
                                  : R"({"keep": [0.2, 0.45, 0.3]})");
  return path.string();
}

// Keys and values of a token in the tiny model's whole cache.
double token_bytes() {
  const ModelShape shape = tiny_shape();
  return 2.0 * 4 * shape.layers * shape.kv_heads * shape.head_dim;
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The budgets' values under test: most of what is outside the window goes, but not all.
std::string budget_text(const ScorerInfo& scorer, const BudgetInfo& budget) {
  if (budget.threshold) return fmt::format("{}={}", budget.name, median_score(scorer));
  // Scorers by weights may decide for all heads of a layer together, and then take no budgets by head.
  if (budget.name == "layers") return "layers=\"0.2,0.45,0.3\"";
  if (budget.read)
    return fmt::format("{}=\"{}\"", budget.name, budget_file(scorer.kind != ScorerKind::kWeights));
  if (budget.name == "bytes") return fmt::format("bytes={}", 0.3 * token_bytes());
  return budget.field.type == Field::Type::kInt ? fmt::format("{}=24", budget.name)
                                                : fmt::format("{}=0.3", budget.name);
}

// A fixed scorer with budgets of its own: half of the heads keep everything.
std::string own_budget_recipe() {
  return fmt::format("duo_attention(sinks=2,window=16,model=\"{}\")", head_scores_folder());
}

}  // namespace

std::shared_ptr<const Model> tiny_model(DType type) {
  static std::map<DType, std::shared_ptr<const Model>> models;
  std::shared_ptr<const Model>& model = models[type];
  if (model) return model;
  if (const char* architecture = std::getenv("KVLAB_TEST_ARCHITECTURE")) {
    model = load_model(tiny_files(architecture), {type});
  } else {
    TinyModelOptions options;
    options.layers = 3;
    const auto path = write_tiny_hf(options, folder().path() / "model");
    model = load_model(open_model(path.string()), {type});
  }
  return model;
}

ModelShape tiny_shape() {
  return shape_of(tiny_model()->config());
}

std::vector<int32_t> random_tokens(int count, uint64_t seed) {
  std::vector<int32_t> tokens(count);
  for (int i = 0; i < count; ++i) {
    tokens[i] =
        static_cast<int32_t>(mix64(mix64(seed) ^ static_cast<uint64_t>(i)) % tiny_model()->config().vocab);
  }
  return tokens;
}

std::string kvzap_folder(int hidden) {
  const std::filesystem::path path = folder().path() / fmt::format("kvzap_{}", hidden);
  if (std::filesystem::exists(path)) return path.string();
  std::filesystem::create_directories(path);
  const ModelShape shape = tiny_shape();
  std::ofstream(path / "config.json")
      << fmt::format(R"({{"input_dim": {}, "output_dim": {}, "n_modules": {}, "hidden_dim": {}}})",
                     shape.hidden, shape.kv_heads, shape.layers, hidden ? std::to_string(hidden) : "null");
  std::mt19937 random(17);
  std::vector<NamedTensor> tensors;
  const auto add = [&](const std::string& name, int64_t in, int64_t out) {
    NamedTensor weight{name + ".weight", {out, in}, {}}, bias{name + ".bias", {out}, {}};
    for (int64_t i = 0; i < in * out; ++i)
      weight.values.push_back(static_cast<float>(random()) * 0x1p-32f - 0.5f);
    for (int64_t i = 0; i < out; ++i) bias.values.push_back(static_cast<float>(random()) * 0x1p-32f - 0.5f);
    tensors.push_back(std::move(weight));
    tensors.push_back(std::move(bias));
  };
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string name = fmt::format("layers.{}", layer);
    add(hidden ? name + ".0" : name, shape.hidden, hidden ? hidden : shape.kv_heads);
    if (hidden) add(name + ".2", hidden, shape.kv_heads);
  }
  write_safetensors((path / "model.safetensors").string(), tensors);
  return path.string();
}

std::string qfilter_folder() {
  const std::filesystem::path path = folder().path() / "qfilter";
  if (std::filesystem::exists(path)) return path.string();
  std::filesystem::create_directories(path);
  const ModelShape shape = tiny_shape();
  NamedTensor filters{"q_filters", {shape.layers, shape.kv_heads, shape.head_dim}, {}};
  std::mt19937 random(29);
  for (int i = 0; i < shape.layers * shape.kv_heads * shape.head_dim; ++i)
    filters.values.push_back(static_cast<float>(random()) * 0x1p-32f - 0.5f);
  write_safetensors((path / "model.safetensors").string(), {filters});
  return path.string();
}

std::string head_scores_folder() {
  const std::filesystem::path path = folder().path() / "head_scores";
  if (std::filesystem::exists(path)) return path.string();
  std::filesystem::create_directories(path);
  const ModelShape shape = tiny_shape();
  NamedTensor scores{"head_scores", {shape.layers, shape.kv_heads}, {}};
  std::mt19937 random(31);
  for (int i = 0; i < shape.layers * shape.kv_heads; ++i)
    scores.values.push_back(static_cast<float>(random()) * 0x1p-32f);
  write_safetensors((path / "model.safetensors").string(), {scores});
  return path.string();
}

std::vector<const ScorerInfo*> online_scorers() {
  std::vector<const ScorerInfo*> scorers;
  for (const ScorerInfo* scorer : registry_scorers()) {
    if (scorer->kind != ScorerKind::kPlanned && scorer->no_budget.empty()) scorers.push_back(scorer);
  }
  return scorers;
}

std::vector<const ScorerInfo*> streaming_scorers() {
  std::vector<const ScorerInfo*> scorers = online_scorers();
  std::erase_if(scorers, [](const ScorerInfo* scorer) { return scorer->kind == ScorerKind::kContext; });
  return scorers;
}

std::string needed_arguments(const ScorerInfo& scorer) {
  // Budgets by head, as the others have, and several parts.
  if (scorer.name == "kvzip") return ",scope=head,chunk=40,previous=3";
  if (scorer.name == "external") return ",scores=\"" + scores_file() + "\"";
  if (!scorer.learned) return "";
  if (scorer.name == "qfilter") return ",model=\"" + qfilter_folder() + "\"";
  if (scorer.name == "duo_attention") return ",model=\"" + head_scores_folder() + "\"";
  if (scorer.name == "kvzap") return ",model=\"" + kvzap_folder(0) + "\"";
  throw std::logic_error("say in needed_arguments() how to write random weights for the scorer " +
                         scorer.name);
}

double median_score(const ScorerInfo& scorer) {
  static std::map<std::string, double> known;
  if (const auto found = known.find(scorer.name); found != known.end()) return found->second;
  const auto method = method_of(fmt::format("{}(threshold=-1e30{})", scorer.name, needed_arguments(scorer)));
  Session session(tiny_model(), method, cache_options());
  session.extend(random_tokens(100, 99));
  std::vector<float> all;
  for (int layer = 0; layer < method->shape.layers; ++layer) {
    for (int head = 0; head < method->shape.kv_heads; ++head) {
      const std::vector<float> scores = scores_of(session.cache(), layer, head);
      all.insert(all.end(), scores.begin(), scores.end());
    }
  }
  std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(all.size() / 2), all.end());
  return known[scorer.name] = all[all.size() / 2];
}

std::vector<std::string> streaming_recipes(int64_t window) {
  std::vector<std::string> recipes;
  for (const ScorerInfo* scorer : streaming_scorers()) {
    for (const BudgetInfo* budget : registry_budgets()) {
      if (budget->threshold && !scorer->no_threshold.empty()) continue;
      for (const int every : {1, 7}) {
        recipes.push_back(fmt::format("{}({},window={},every={}{})", scorer->name,
                                      budget_text(*scorer, *budget), window, every,
                                      needed_arguments(*scorer)));
      }
    }
  }
  recipes.push_back(fmt::format("kvzap(keep=0.3,window={},model=\"{}\")", window, kvzap_folder(24)));
  recipes.push_back(own_budget_recipe());
  return recipes;
}

std::vector<std::string> context_recipes(double keep) {
  std::vector<std::string> recipes;
  for (const ScorerInfo* scorer : online_scorers()) {
    recipes.push_back(fmt::format("{}(keep={},at=context{})", scorer->name, keep, needed_arguments(*scorer)));
  }
  return recipes;
}

std::vector<std::string> two_phase_recipes() {
  std::vector<std::string> recipes;
  const auto add = [&](const std::string& context, const std::string& decode) {
    recipes.push_back(fmt::format("two_phase(context={},decode={})", context, decode));
  };
  for (const ScorerInfo* scorer : online_scorers()) {
    const std::string needed = needed_arguments(*scorer);
    add(fmt::format("{}(keep=0.5{})", scorer->name, needed), "h2o(size=24,window=8)");
    if (scorer->kind == ScorerKind::kContext) continue;
    add("streaming_llm(keep=0.5)", fmt::format("{}(keep=0.3,window=8,every=7{})", scorer->name, needed));
    add("none", fmt::format("{}(keep=0.3,window=8,every=3{})", scorer->name, needed));
  }
  add("h2o(keep=0.5)", "knorm(size=24,window=8)");
  add("simlayerkv(lazy=0,recent=32)", "snapkv(keep=0.3,window=8,every=7)");
  add("none", own_budget_recipe());
  add(own_budget_recipe(), "h2o(size=24,window=8)");
  add("h2o(free_density=0.4)", "snapkv(keep=0.3,window=8,every=5)");
  add("tova(keep=0.4)", "tova(size=24)");
  add("tova(keep=0.4)", "expected_attention(keep=0.3,window=8,every=6)");
  add("snapkv(keep=0.5)", "keydiff(keep=0.3,window=8,every=7)");
  add("expected_attention(keep=0.5)", "snapkv(size=24,window=8,every=7)");
  add("expected_attention(keep=0.5)", "random(keep=0.3)");
  return recipes;
}

std::vector<std::string> all_streaming_recipes(int64_t window) {
  return joined(streaming_recipes(window), wrapped_streaming_recipes(window));
}

std::vector<std::string> all_context_recipes(double keep) {
  return joined(context_recipes(keep), wrapped_context_recipes(keep));
}

std::vector<std::string> all_two_phase_recipes() {
  return joined(two_phase_recipes(), wrapped_two_phase_recipes());
}

bool is_told_by_lives(const Method& method) {
  return !method.revises() && !method.renumbers();
}

std::shared_ptr<const Method> method_of(const std::string& recipe) {
  return make_method(resolve_recipe(recipe, {}), tiny_shape());
}

std::shared_ptr<const ReconstructionPrompts> random_prompts() {
  const std::vector<int32_t> ids = random_tokens(9, 71);
  return std::make_shared<const ReconstructionPrompts>(ReconstructionPrompts{
      {ids[0], ids[1], ids[2]}, {ids[3], ids[4], ids[5], ids[6]}, {ids[7], ids[8]}, ""});
}

CacheOptions cache_options(DType type) {
  CacheOptions options;
  options.type = type;
  options.record_lifetimes = true;
  options.prompts = random_prompts();
  return options;
}

std::vector<std::vector<int32_t>> live_entries(const KvCache& cache) {
  std::vector<std::vector<int32_t>> live;
  for (int layer = 0; layer < cache.method().shape.layers; ++layer) {
    for (int head = 0; head < cache.method().shape.kv_heads; ++head) {
      live.push_back(cache.store(layer, head).positions());
      std::sort(live.back().begin(), live.back().end());
    }
  }
  return live;
}

Outcome run(const std::shared_ptr<const Method>& method, const std::vector<int32_t>& tokens,
            const RunPlan& plan) {
  CacheOptions options = cache_options(plan.type);
  options.imposed = plan.imposed;
  Session session(tiny_model(), method, options);
  Outcome outcome;
  outcome.tokens = static_cast<int64_t>(tokens.size());
  std::vector<int64_t> blocks(plan.blocks.rbegin(), plan.blocks.rend());  // the next one last
  for (int64_t at = 0; at < outcome.tokens;) {
    if (plan.context && at == *plan.context) session.end_context();
    if (blocks.empty()) blocks.push_back(outcome.tokens - at);
    const int64_t end = plan.context && at < *plan.context ? *plan.context : outcome.tokens;
    const int64_t count = std::min(blocks.back(), end - at);
    blocks.back() -= count;
    if (blocks.back() == 0) blocks.pop_back();
    const HiddenStates states = session.extend(std::span(tokens).subspan(at, count));
    outcome.hidden.insert(outcome.hidden.end(), states.values.data(), states.row(states.rows));
    at += count;
  }
  if (plan.context && *plan.context == outcome.tokens) session.end_context();
  outcome.lifetimes = session.cache().lifetimes();
  outcome.live = live_entries(session.cache());
  outcome.counts = session.cache().evictions();
  return outcome;
}

std::vector<int> ones(int tokens) {
  return std::vector<int>(tokens, 1);
}

std::vector<int> random_blocks(int tokens, int largest, std::mt19937& random) {
  std::vector<int> blocks;
  for (int left = tokens; left > 0; left -= blocks.back()) {
    blocks.push_back(std::min(left, 1 + static_cast<int>(random() % static_cast<unsigned>(largest))));
  }
  return blocks;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // a NaN counts
  }
  return largest;
}

}  // namespace kvlab::testing
