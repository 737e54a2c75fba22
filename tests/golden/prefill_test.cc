// The context is read, compressed once, and the continuation scored token by token: losses and kept counts
// against kvpress.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "golden/golden_support.h"

namespace kvlab::testing {
namespace {

class PrefillGolden : public ::testing::TestWithParam<const char*> {};

// A recipe that this build has: parts of other recipes (of=...) and scorers to come are left out.
bool known(const std::string& recipe) {
  return registered(recipe) && recipe.find("of=") == std::string::npos;
}

struct Continuation {
  std::vector<float> nll;
  std::vector<int> kept_per_layer;  // per KV head, right after the context
};

Continuation run_prefill(const std::shared_ptr<const Model>& model, const std::string& recipe,
                         const std::vector<int32_t>& tokens, int64_t context) {
  const ModelShape shape = shape_of(model->config());
  Session session(model, make_method(resolve_recipe(recipe, {}), shape), {});
  const std::span<const int32_t> all(tokens);
  const HiddenStates first = session.extend(all.first(static_cast<size_t>(context)));
  session.end_context();
  Continuation result;
  for (int layer = 0; layer < shape.layers; ++layer)
    result.kept_per_layer.push_back(session.cache().store(layer, 0).size());
  HiddenStates last;
  last.rows = 1;
  last.size = first.size;
  last.values = Buffer<float>(static_cast<size_t>(first.size));
  std::copy_n(first.row(context - 1), first.size, last.values.data());
  result.nll = token_losses(*model, last, all.subspan(static_cast<size_t>(context), 1));
  const HiddenStates rest = session.extend(all.subspan(static_cast<size_t>(context)));
  const auto more = token_losses(*model, rest, all.subspan(static_cast<size_t>(context) + 1));
  result.nll.insert(result.nll.end(), more.begin(), more.end());
  return result;
}

TEST_P(PrefillGolden, LossesAndKeptCountsEqualKvpress) {
  KVLAB_SKIP_UNDER_SANITIZERS("512 tokens of the default model under nine recipes");
  const std::string path = shared_path(fmt::format("goldens/{}.json", GetParam()));
  KVLAB_NEED_FILE(path);
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = read_json(path);
  const auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  const auto model = open_and_load(default_model_path(), DType::kF32);
  int ran = 0;
  for (const auto& [name, expected] : golden.at("prefill").items()) {
    if (!expected.contains("recipe") || !known(expected.at("recipe"))) {
      fmt::print("  {}: skipped, this build has no such method\n", name);
      continue;
    }
    const std::string recipe = expected.at("recipe");
    const Continuation run = run_prefill(model, recipe, tokens, golden.at("context").get<int64_t>());
    const LossDistance distance = loss_distance(run.nll, expected.at("nll"));
    fmt::print("  {}: losses differ by {:.2g} on average, {:.2g} at most\n", recipe, distance.mean,
               distance.most);
    EXPECT_EQ(run.nll.size(), expected.at("nll").size()) << recipe;
    EXPECT_LE(distance.mean, 2e-3) << recipe;
    EXPECT_EQ(run.kept_per_layer, expected.at("kept_per_layer").get<std::vector<int>>()) << recipe;
    ++ran;
  }
  EXPECT_GE(ran, 9);
}

INSTANTIATE_TEST_SUITE_P(Texts, PrefillGolden, ::testing::Values("wikitext2", "katrine"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvlab::testing
