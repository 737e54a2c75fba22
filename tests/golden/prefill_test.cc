// The context is read, compressed once, and the continuation scored token by token: scores, what is kept, and
// losses against kvpress.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/prefill_support.h"

namespace kvlab::testing {
namespace {

class PrefillGolden : public ::testing::TestWithParam<const char*> {};

// The recorded layers against ours.
struct ScoreDistance {
  double most = 0;       // relative difference of a score
  size_t compared = 0;   // scores
  size_t misplaced = 0;  // entries below the cut that were kept, or above it that went
  size_t ties = 0;       // entries at the cut that went: others of that score stayed
};

void add_head(const std::vector<double>& theirs, double protection, double floor,
              const std::vector<float>& ours, const std::vector<float>& kept, ScoreDistance& distance) {
  ASSERT_EQ(theirs.size(), ours.size());
  std::vector<double> sorted = theirs;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double cut = sorted.at(static_cast<size_t>(std::count(kept.begin(), kept.end(), 1.0f)) - 1);
  for (size_t p = 0; p < theirs.size(); ++p) {
    distance.misplaced += kept[p] == 1 ? theirs[p] < cut : theirs[p] > cut;
    distance.ties += kept[p] == 0 && theirs[p] == cut;
    if (theirs[p] == protection || !std::isfinite(ours[p])) continue;
    ++distance.compared;
    distance.most =
        std::max(distance.most, std::abs(ours[p] - theirs[p]) / std::max(std::abs(theirs[p]), floor));
  }
}

// kvpress scores entries that it protects as high as the layer's highest, so such scores are not compared.
ScoreDistance score_distance(const nlohmann::json& golden, const Continuation& run) {
  ScoreDistance distance;
  EXPECT_EQ(golden.size(), 2u) << "layers recorded";
  for (const auto& [name, heads] : golden.items()) {
    const auto theirs = heads.get<std::vector<std::vector<double>>>();
    std::vector<double> all;
    for (const auto& scores : theirs) all.insert(all.end(), scores.begin(), scores.end());
    const double highest = *std::max_element(all.begin(), all.end());
    const double floor = score_floor(all);
    const size_t layer = std::stoul(name);
    EXPECT_EQ(theirs.size(), run.scores.at(layer).size());
    for (size_t head = 0; head < theirs.size(); ++head)
      add_head(theirs[head], highest, floor, run.scores[layer][head], run.kept[layer][head], distance);
  }
  return distance;
}

// A mean over losses is small where little depends on what was kept, so entries and scores are held as well.
void expect_close(const std::string& recipe, const ScoreDistance& scores, const LossDistance& losses) {
  fmt::print(
      "  {}: losses differ by {:.2g} on average, {:.2g} at most; {} scores by {:.2g} of themselves at most; "
      "{} entries out of place, {} ties at the cut\n",
      recipe, losses.mean, losses.most, scores.compared, scores.most, scores.misplaced, scores.ties);
  EXPECT_EQ(scores.misplaced, 0u) << recipe << ": what differs may be exact ties only";
  EXPECT_LE(losses.mean, scores.ties == 0 ? 1e-4 : 2e-3) << recipe;
  // kvpress scores StreamingLLM's entries 1 or 0, which only says what is kept.
  if (resolve_recipe(recipe, {}).recency()) return;
  // Two layers of three heads and 384 entries, of which 64 are protected, with LagKV 128.
  EXPECT_GT(scores.compared, 1500u) << recipe;
  EXPECT_LE(scores.most, 1e-3) << recipe;  // measured: 2e-5 where scores have one sign
}

// Entries left per layer. A press that shares a layer's budget out over its heads only masks what goes, so
// that the reference recorded the whole context: there the layer's total is the budget's.
void expect_counts(const std::string& recipe, const nlohmann::json& golden, const Continuation& run,
                   int64_t context) {
  const auto expected = golden.get<std::vector<int64_t>>();
  ASSERT_EQ(run.kept.size(), expected.size()) << recipe;
  const double keep = resolve_recipe(recipe, {}).policy.value;
  for (size_t layer = 0; layer < expected.size(); ++layer) {
    const auto heads = static_cast<int64_t>(run.kept[layer].size());
    int64_t total = 0;
    for (int64_t head = 0; head < heads; ++head)
      total += run.count(static_cast<int>(layer), static_cast<int>(head));
    const bool masked = expected[layer] == context;
    const int64_t per_head =
        masked ? static_cast<int64_t>(static_cast<double>(context) * keep) : expected[layer];
    EXPECT_EQ(total, heads * per_head) << recipe << ", layer " << layer;
  }
}

void check_entry(const std::shared_ptr<const Model>& model, const nlohmann::json& expected,
                 std::span<const int32_t> tokens, int64_t context) {
  const std::string recipe = expected.at("recipe");
  const Continuation run = run_prefill(model, resolve_recipe(recipe, {}), tokens, context);
  EXPECT_EQ(run.nll.size(), expected.at("nll").size()) << recipe;
  const LossDistance losses = loss_distance(run.nll, expected.at("nll"));
  expect_counts(recipe, expected.at("kept_per_layer"), run, context);
  if (!wraps(recipe)) {
    expect_close(recipe, score_distance(expected.at("scores"), run), losses);
    return;
  }
  // What a wrapper makes of the scores is recorded in part only; its choice shows in the losses. The
  // reference hides masked entries by keys that should draw no weight.
  fmt::print("  {}: losses differ by {:.2g} on average, {:.2g} at most\n", recipe, losses.mean, losses.most);
  const bool masked = expected.at("kept_per_layer").at(0) == context;
  EXPECT_LE(losses.mean, masked ? 2e-2 : 2e-3) << recipe;
}

TEST_P(PrefillGolden, ScoresKeptEntriesAndLossesEqualKvpress) {
  KVLAB_SKIP_UNDER_SANITIZERS("512 tokens of the default model under eleven recipes");
  const std::string path = shared_path(fmt::format("goldens/{}.json", GetParam()));
  KVLAB_NEED_FILE(path);
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = read_json(path);
  const auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  const auto model = open_and_load(default_model_path(), DType::kF32);
  int ran = 0;
  for (const auto& [name, expected] : golden.at("prefill").items()) {
    std::string why = "no recipe";
    if (!expected.contains("recipe") || !known_recipe(expected.at("recipe"), why)) {
      fmt::print("  {}: skipped: {}\n", name, why);
      continue;
    }
    check_entry(model, expected, tokens, golden.at("context").get<int64_t>());
    ++ran;
  }
  EXPECT_GE(ran, 11);
}

INSTANTIATE_TEST_SUITE_P(Texts, PrefillGolden, ::testing::Values("wikitext2", "katrine"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvlab::testing
