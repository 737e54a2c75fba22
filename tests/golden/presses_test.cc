// kvpress's presses on the built-in corpus (tests/goldens/presses.json, made by
// tools/goldens/make_press_goldens.py) against the recipes that should do the same: scores, what is kept, and
// losses of the continuation.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "golden/prefill_support.h"
#include "golden/press_inputs.h"

namespace kvlab::testing {
namespace {

// Positions of a hexadecimal number's bits, the lowest digit last.
std::set<int32_t> positions_of_bits(const std::string& digits) {
  std::set<int32_t> positions;
  for (size_t i = 0; i < digits.size(); ++i) {
    const int digit = std::stoi(digits.substr(digits.size() - 1 - i, 1), nullptr, 16);
    for (int bit = 0; bit < 4; ++bit) {
      if (digit >> bit & 1) positions.insert(static_cast<int32_t>(4 * i) + bit);
    }
  }
  return positions;
}

// Entries left, per layer and KV head; the golden has one number where a layer's heads agree.
std::vector<std::vector<int64_t>> counts_of(const nlohmann::json& kept, size_t heads) {
  std::vector<std::vector<int64_t>> counts;
  for (const auto& layer : kept) {
    counts.push_back(layer.is_array() ? layer.get<std::vector<int64_t>>()
                                      : std::vector<int64_t>(heads, layer.get<int64_t>()));
  }
  return counts;
}

int64_t total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// Which scores are compared, and how much they differ: relative to the score, or to a hundredth of the
// layer's deviation where scores lie on both sides of zero.
struct ScoreDistance {
  double most = 0;
  size_t compared = 0;
};

double floor_of(const std::vector<std::vector<nlohmann::json>>& heads) {
  std::vector<double> scores;
  for (const auto& head : heads) {
    for (const auto& score : head) {
      if (!score.is_null()) scores.push_back(score.get<double>());
    }
  }
  return score_floor(scores);
}

ScoreDistance score_distance(const nlohmann::json& golden, const Continuation& run) {
  ScoreDistance distance;
  const auto first = golden.at("scores_from").get<size_t>();
  for (const auto& [name, layer] : golden.at("scores").items()) {
    const auto theirs = layer.get<std::vector<std::vector<nlohmann::json>>>();
    const double floor = floor_of(theirs);
    for (size_t head = 0; head < theirs.size(); ++head) {
      const std::vector<float>& ours = run.scores.at(std::stoul(name)).at(head);
      for (size_t i = 0; i < theirs[head].size(); ++i) {
        const float score = ours.at(first + i);
        if (theirs[head][i].is_null() || !std::isfinite(score)) continue;
        const auto expected = theirs[head][i].get<double>();
        const double scale = std::max(std::abs(expected), floor);
        if (scale == 0) continue;
        distance.most = std::max(distance.most, std::abs(score - expected) / scale);
        ++distance.compared;
      }
    }
  }
  return distance;
}

// Entries of one head that only one side keeps. In the first layer a key before its rotation depends on the
// token alone, so that entries of one token tie under scores such as a norm: those that swapped are no
// difference.
size_t differing(const std::set<int32_t>& theirs, const std::vector<float>& ours,
                 std::span<const int32_t> tokens, bool tokens_tie) {
  size_t different = 0;
  std::map<int32_t, int> swapped;  // by token: theirs - ours
  for (size_t p = 0; p < ours.size(); ++p) {
    const int side = static_cast<int>(theirs.count(static_cast<int32_t>(p))) - (ours[p] == 1 ? 1 : 0);
    swapped[tokens_tie ? tokens[p] : static_cast<int32_t>(p)] += side;
  }
  for (const auto& [key, difference] : swapped) different += static_cast<size_t>(std::abs(difference));
  return different;
}

class Presses : public ::testing::Test {
 protected:
  struct Distance {
    size_t entries = 0, counts = 0;  // that differ
    LossDistance losses;
    ScoreDistance scores;
  };

  // Nothing, and the reason, where this build has no such method or none does the same.
  std::optional<MethodSpec> recipe_of(const nlohmann::json& golden, uint64_t seed, std::string& why) {
    if (golden.at("recipe").is_null()) {
      why = golden.at("note");
      return std::nullopt;
    }
    return known_recipe(with_inputs(golden.at("recipe"), folder_, shape_of(model_->config()), seed), why);
  }

  void check(const std::string& name, const nlohmann::json& golden, const MethodSpec& spec) {
    SCOPED_TRACE(name + ": " + golden.at("recipe").get<std::string>());
    const auto context = golden.at("context").get<int64_t>();
    const size_t length = static_cast<size_t>(context) + golden.at("nll").size();
    const Continuation run =
        run_prefill(model_, spec, std::span<const int32_t>(tokens_).first(length), context, options_);
    if (golden.contains("prompts")) expect_prompts(golden.at("prompts"));
    EXPECT_EQ(run.nll.size(), golden.at("nll").size());
    Distance distance;
    distance.losses = loss_distance(run.nll, golden.at("nll"));
    if (golden.contains("positions")) {
      distance.counts = compare_counts(golden, run);
      distance.entries = compare_positions(golden, run);
    }
    if (golden.contains("scores") && !run.scores.empty() && !wraps(golden.at("recipe")))
      distance.scores = score_distance(golden, run);
    expect_close(name, golden, run, distance);
  }

  // What was fed ahead of each part: the prompt, of later parts with the tokens before it, then the suffix.
  void expect_prompts(const nlohmann::json& golden) const {
    const ReconstructionPrompts& prompts = *options_.prompts;
    for (size_t part = 0; part < golden.size(); ++part) {
      const auto fed = golden[part].get<std::vector<int32_t>>();
      const std::vector<int32_t>& asked = part == 0 ? prompts.first : prompts.later;
      ASSERT_GE(fed.size(), asked.size() + prompts.suffix.size());
      EXPECT_TRUE(std::equal(asked.begin(), asked.end(), fed.begin())) << part;
      EXPECT_TRUE(std::equal(prompts.suffix.rbegin(), prompts.suffix.rend(), fed.rbegin())) << part;
    }
  }

  // Of a layer's or the model's budget every head gets a share, and near ties between heads move single
  // entries; elsewhere the counts are the same.
  size_t compare_counts(const nlohmann::json& golden, const Continuation& run) {
    const auto expected = counts_of(golden.at("kept"), run.kept.at(0).size());
    size_t different = 0;
    int64_t theirs = 0, ours = 0;
    bool uneven = false;
    for (size_t layer = 0; layer < expected.size(); ++layer) {
      uneven = uneven || golden.at("kept")[layer].is_array();
      theirs += total(expected[layer]);
      for (size_t head = 0; head < expected[layer].size(); ++head) {
        const int count = run.count(static_cast<int>(layer), static_cast<int>(head));
        ours += count;
        different += static_cast<size_t>(std::abs(count - expected[layer][head]));
      }
    }
    EXPECT_LE(static_cast<double>(different), uneven ? 0.002 * static_cast<double>(theirs) : 0.0);
    EXPECT_NEAR(static_cast<double>(ours), static_cast<double>(theirs), 0.0005 * static_cast<double>(theirs));
    return different;
  }

  size_t compare_positions(const nlohmann::json& golden, const Continuation& run) {
    size_t different = 0, recorded = 0;
    for (const auto& [name, heads] : golden.at("positions").items()) {
      const size_t layer = std::stoul(name);
      for (size_t head = 0; head < heads.size(); ++head) {
        const auto theirs = positions_of_bits(heads[head]);
        recorded += theirs.size();
        different += differing(theirs, run.kept.at(layer).at(head), tokens_, layer == 0);
      }
    }
    EXPECT_LE(static_cast<double>(different), 0.01 * static_cast<double>(recorded));
    return different;
  }

  void expect_close(const std::string& name, const nlohmann::json& golden, const Continuation& run,
                    const Distance& distance) {
    std::string line =
        fmt::format("  {}: losses differ by {:.2g} on average, {:.2g} at most; {} entries, {} in counts",
                    name, distance.losses.mean, distance.losses.most, distance.entries, distance.counts);
    if (distance.scores.compared > 0)
      line += fmt::format("; {} scores by {:.2g}", distance.scores.compared, distance.scores.most);
    EXPECT_LE(distance.losses.mean, 2e-3);
    EXPECT_LE(distance.scores.most, 1e-3);
    if (golden.contains("nll_kvpress")) {
      const LossDistance theirs = loss_distance(run.nll, golden.at("nll_kvpress"));
      line += fmt::format("; from kvpress's own hiding {:.2g}", theirs.mean);
      EXPECT_LE(theirs.mean, 2e-2);
    }
    fmt::print("{}\n", line);
  }

  std::shared_ptr<const Model> model_;
  std::vector<int32_t> tokens_;
  CacheOptions options_;
  TempFolder folder_;
};

TEST_F(Presses, ScoresKeptEntriesAndLosses) {
  KVLAB_SKIP_UNDER_SANITIZERS("416 tokens of the default model under some sixty recipes");
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = read_json(KVLAB_SOURCE_DIR "/tests/goldens/presses.json");
  model_ = open_and_load(default_model_path(), DType::kF32);
  tokens_ = golden.at("tokens").get<std::vector<int32_t>>();
  options_.prompts = chatless_prompts(*open_tokenizer(default_model_path()));
  int ran = 0;
  for (const auto& [name, expected] : golden.at("presses").items()) {
    std::string why;
    const auto spec = recipe_of(expected, golden.at("seed").get<uint64_t>(), why);
    if (spec) {
      check(name, expected, *spec);
      ++ran;
    } else {
      fmt::print("  {}: skipped: {}\n", name, why);
    }
  }
  EXPECT_GE(ran, 55);
}

}  // namespace
}  // namespace kvlab::testing
