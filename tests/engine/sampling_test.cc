// Sampling against a plain reference that sorts the whole vocabulary.
#include "engine/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "base/error.h"

namespace kvlab {
namespace {

std::vector<float> random_logits(int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Probability by id of what may be drawn: softmax, sort, cut to k, cut where top_p is reached, normalise.
std::map<int32_t, double> reference(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  if (options.top_k > 0 && options.top_k < static_cast<int64_t>(order.size())) order.resize(options.top_k);
  const auto weight = [&](int32_t id) { return std::exp(logits[id] / options.temperature); };
  double all = 0, reached = 0, kept = 0;
  for (const int32_t id : order) all += weight(id);
  std::map<int32_t, double> chances;
  for (const int32_t id : order) {
    if (options.top_p < 1 && reached >= options.top_p) break;
    reached += weight(id) / all;
    kept += weight(id);
    chances[id] = weight(id);
  }
  for (auto& [id, chance] : chances) chance /= kept;
  return chances;
}

TEST(Sampling, ChancesEqualThePlainReference) {
  for (const double temperature : {0.3, 1.0, 2.0}) {
    for (const int64_t top_k : {0, 1, 7, 500, 5000}) {
      for (const double top_p : {0.05, 0.5, 0.95, 1.0}) {
        SCOPED_TRACE(::testing::Message() << temperature << " " << top_k << " " << top_p);
        const SamplingOptions options{temperature, top_k, top_p, 0};
        const std::vector<float> logits = random_logits(1000, 5);
        const auto expected = reference(logits, options);
        const auto chances = token_chances(logits, options);
        ASSERT_EQ(chances.size(), expected.size());
        for (const TokenChance& chance : chances) {
          ASSERT_TRUE(expected.contains(chance.id));
          EXPECT_NEAR(chance.probability, expected.at(chance.id), 1e-12);
        }
      }
    }
  }
}

TEST(Sampling, TheNucleusIsTheSmallestThatReachesTopP) {
  // Probabilities 1/2, 1/4, 1/8, 1/8.
  const std::vector<float> logits{0.0f, std::log(4.0f), std::log(2.0f), 0.0f};
  const auto ids = [&](double top_p, int64_t top_k = 0) {
    std::vector<int32_t> result;
    for (const TokenChance& chance : token_chances(logits, {1, top_k, top_p, 0})) result.push_back(chance.id);
    return result;
  };
  using ::testing::ElementsAre;
  using ::testing::UnorderedElementsAre;
  EXPECT_THAT(ids(0.1), ElementsAre(1));
  EXPECT_THAT(ids(0.6), ElementsAre(1, 2));
  EXPECT_THAT(ids(0.8), ElementsAre(1, 2, 0));  // of the two equals the lower id stays
  EXPECT_THAT(ids(1.0), UnorderedElementsAre(0, 1, 2, 3));
  EXPECT_THAT(ids(1.0, 3), UnorderedElementsAre(0, 1, 2));
  EXPECT_THAT(ids(0.6, 2), ElementsAre(1));  // of the two that top_k leaves, the first has 2/3
}

TEST(Sampling, GreedyTakesTheLowestOfEquals) {
  EXPECT_EQ(greedy_token(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(greedy_token(std::vector<float>{-5, -5}), 0);
  EXPECT_EQ(Sampler({}).next(std::vector<float>{1, 3, 2, 3}), 1);
}

TEST(Sampling, TowardsTemperatureZeroItIsGreedy) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> logits = random_logits(300, seed);
    for (const double temperature : {1e-4, 1e-30, 1e-310}) {
      Sampler sampler({temperature, 0, 1, seed});
      for (int n = 0; n < 5; ++n) EXPECT_EQ(sampler.next(logits), greedy_token(logits));
    }
    EXPECT_EQ(Sampler({1, 1, 1, seed}).next(logits), greedy_token(logits));
  }
}

TEST(Sampling, DrawsFollowTheChances) {
  const std::vector<float> logits = random_logits(12, 3);
  const SamplingOptions options{1.5, 8, 0.9, 11};
  constexpr int kDraws = 40000;
  std::map<int32_t, int> counts;
  Sampler sampler(options);
  for (int n = 0; n < kDraws; ++n) ++counts[sampler.next(logits)];
  const auto expected = reference(logits, options);
  ASSERT_EQ(counts.size(), expected.size());
  for (const auto& [id, chance] : expected) {
    const double deviation = std::sqrt(kDraws * chance * (1 - chance));
    EXPECT_NEAR(counts[id], kDraws * chance, 4 * deviation) << id;
  }
}

TEST(Sampling, ASeedGivesTheSameDraws) {
  const std::vector<float> logits = random_logits(100, 8);
  const auto draws = [&](uint64_t seed) {
    Sampler sampler({1, 0, 1, seed});
    std::vector<int32_t> ids;
    for (int n = 0; n < 50; ++n) ids.push_back(sampler.next(logits));
    return ids;
  };
  EXPECT_EQ(draws(1), draws(1));
  EXPECT_NE(draws(1), draws(2));
}

TEST(Sampling, RefusesOptionsOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const SamplingOptions& options :
       {SamplingOptions{-1}, SamplingOptions{nan}, SamplingOptions{inf}, SamplingOptions{1, -1},
        SamplingOptions{1, 0, 0}, SamplingOptions{1, 0, 1.01}, SamplingOptions{1, 0, nan}}) {
    EXPECT_THROW(Sampler{options}, UserError);
  }
  try {
    check_sampling({1, 0, 1.5, 0});
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("top_p 1.5"));
  }
}

TEST(Sampling, RefusesLogitsThatAreNoNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(greedy_token(std::vector<float>{nan, nan}), UserError);
  EXPECT_THROW(token_chances(std::vector<float>{1, nan}, {1}), UserError);
}

}  // namespace
}  // namespace kvlab
