// plan_lifetimes and act_once against the step-by-step reference, in one go and cut into blocks.
#include "cache/lifetimes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cache/naive_policy.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

using testing::naive_action;
using testing::naive_lifetimes;
using testing::NaiveLife;
using testing::NaivePolicy;
using Budget = NaivePolicy::Budget;

// Scores from a few values only, so that ties are common.
std::vector<float> tied_scores(int count, std::mt19937& random) {
  std::vector<float> scores(count);
  for (float& score : scores) score = static_cast<float>(random() % 7) * 0.25f - 0.75f;
  return scores;
}

std::string text(const NaivePolicy& p) {
  return fmt::format("budget {} value {} sinks {} window {} rule {} every {}", static_cast<int>(p.budget),
                     p.value, p.sinks, p.window, static_cast<int>(p.rule), p.every);
}

std::vector<NaivePolicy> policies() {
  const std::vector<std::pair<Budget, std::vector<double>>> budgets = {
      {Budget::kThreshold, {-1e30, -0.5, 0.1, 1e30}},
      {Budget::kKeep, {0, 0.02, 0.29, 0.5, 0.93}},
      {Budget::kSize, {1, 2, 17, 60, 1000}},
      {Budget::kFreeDensity, {0, 0.1, 0.5, 0.99}},
  };
  std::vector<NaivePolicy> all;
  for (const auto& [budget, values] : budgets) {
    for (const double value : values) {
      for (const int64_t sinks : {0, 4, 30}) {
        for (const int64_t every : {1, 7, 64}) {
          for (const int64_t window : {0, 1, 8, 50}) {
            all.push_back({budget, value, sinks, window, WindowRule::kUsual, every});
          }
          for (const WindowRule rule :
               {WindowRule::kUsual, WindowRule::kHalf, WindowRule::kOne, WindowRule::kNone}) {
            all.push_back({budget, value, sinks, -1, rule, every});
          }
        }
      }
    }
  }
  return all;
}

// Runs plan_lifetimes over blocks of random sizes; what survives a block is handed to the next in random slot
// order.
NaiveLife planned_in_blocks(const Policy& policy, const std::vector<float>& scores, std::mt19937& random,
                            size_t largest_block) {
  NaiveLife life;
  LifetimeScratch scratch;
  life.evict_at.assign(scores.size(), kNever);
  std::vector<int32_t> slots;
  for (size_t first = 0; first < scores.size();) {
    const size_t rows = std::min<size_t>(1 + random() % largest_block, scores.size() - first);
    std::shuffle(slots.begin(), slots.end(), random);
    const auto old_count = static_cast<int64_t>(slots.size());
    for (size_t r = 0; r < rows; ++r) slots.push_back(static_cast<int32_t>(first + r));
    std::vector<float> slot_scores;
    for (const int32_t p : slots) slot_scores.push_back(scores[p]);
    std::vector<int32_t> evict_at(slots.size(), kNever);
    life.counts += plan_lifetimes(policy, {slots, slot_scores, old_count, static_cast<int64_t>(first)},
                                  evict_at, scratch);
    std::vector<int32_t> survivors;
    for (size_t s = 0; s < slots.size(); ++s) {
      life.evict_at[slots[s]] = evict_at[s];
      if (evict_at[s] == kNever) survivors.push_back(slots[s]);
    }
    slots = std::move(survivors);
    first += rows;
  }
  return life;
}

void expect_equal(const NaiveLife& wanted, const NaiveLife& got) {
  EXPECT_EQ(wanted.evict_at, got.evict_at);
  EXPECT_EQ(wanted.counts.evictions, got.counts.evictions);
  EXPECT_EQ(wanted.counts.forced, got.counts.forced);
}

TEST(Lifetimes, PlanEqualsStepByStep) {
  std::mt19937 random(1);
  for (const NaivePolicy& naive : policies()) {
    SCOPED_TRACE(text(naive));
    const std::vector<float> scores = tied_scores(100 + static_cast<int>(random() % 60), random);
    const NaiveLife wanted = naive_lifetimes(naive, scores);
    const Policy policy = naive.policy();
    {
      SCOPED_TRACE("in one go");
      expect_equal(wanted, planned_in_blocks(policy, scores, random, 1000));
    }
    {
      SCOPED_TRACE("in blocks of up to 40");
      expect_equal(wanted, planned_in_blocks(policy, scores, random, 40));
    }
    {
      SCOPED_TRACE("one by one");
      expect_equal(wanted, planned_in_blocks(policy, scores, random, 1));
    }
    if (HasFailure()) return;
  }
}

TEST(Lifetimes, OneActionEqualsStepByStep) {
  std::mt19937 random(2);
  for (const NaivePolicy& naive : policies()) {
    SCOPED_TRACE(text(naive));
    const std::vector<float> by_position = tied_scores(150, random);
    std::vector<int32_t> positions;
    for (int32_t p = 0; p < 150; ++p) {
      if (random() % 4 != 0 || p == 149) positions.push_back(p);
    }
    std::shuffle(positions.begin(), positions.end(), random);
    std::vector<float> scores;
    for (const int32_t p : positions) scores.push_back(by_position[p]);

    EvictionCounts wanted;
    const std::vector<int32_t> wanted_gone = naive_action(naive, 150, positions, by_position, wanted);
    std::vector<int32_t> slots;
    const EvictionCounts got = act_once(naive.policy(), 150, positions, scores, slots);
    EXPECT_TRUE(std::is_sorted(slots.begin(), slots.end(), std::greater<>()));
    std::vector<int32_t> gone;
    for (const int32_t slot : slots) gone.push_back(positions[slot]);
    std::sort(gone.begin(), gone.end());
    EXPECT_EQ(wanted_gone, gone);
    EXPECT_EQ(wanted.evictions, got.evictions);
    EXPECT_EQ(wanted.forced, got.forced);
    if (HasFailure()) return;
  }
}

// One action after every token, as the weights kernel does it: the path on which exactly one entry is over
// the limit.
TEST(Lifetimes, ActingAfterEveryTokenEqualsThePlan) {
  std::mt19937 random(3);
  for (const NaivePolicy& naive : policies()) {
    if (naive.every != 1) continue;
    SCOPED_TRACE(text(naive));
    const std::vector<float> scores = tied_scores(120, random);
    const NaiveLife wanted = naive_lifetimes(naive, scores);
    const Policy policy = naive.policy();
    NaiveLife got;
    got.evict_at.assign(scores.size(), kNever);
    std::vector<int32_t> live, slots;
    for (int32_t i = 0; i < static_cast<int32_t>(scores.size()); ++i) {
      live.push_back(i);
      std::vector<float> live_scores;
      for (const int32_t p : live) live_scores.push_back(scores[p]);
      got.counts += act_once(policy, i + 1, live, live_scores, slots);
      for (const int32_t slot : slots) {
        got.evict_at[live[slot]] = i + 1;
        live[slot] = live.back();
        live.pop_back();
      }
    }
    expect_equal(wanted, got);
    if (HasFailure()) return;
  }
}

// With a threshold, entry j is tried for the first time when it leaves the window, at the next action.
TEST(Lifetimes, ThresholdEvictsWhenAnEntryLeavesTheWindow) {
  const std::vector<float> scores(200, -1.0f);
  for (const int64_t every : {1, 7, 64}) {
    for (const int64_t window : {0, 1, 8, 128}) {
      const NaivePolicy naive{Budget::kThreshold, 0, 3, window, WindowRule::kUsual, every};
      std::mt19937 random(4);
      const NaiveLife life = planned_in_blocks(naive.policy(), scores, random, 1000);
      for (int64_t j = 0; j < 200; ++j) {
        const int64_t leaves = (j + window + 1 + every - 1) / every * every;
        const int64_t wanted = j < 3 || leaves > 200 ? kNever : leaves;
        EXPECT_EQ(life.evict_at[j], wanted) << "entry " << j << ", window " << window << ", every " << every;
      }
    }
  }
}

// A method that acts at the end of a context evicts nothing while it streams; keep=1 never does.
TEST(Lifetimes, NothingGoesWithoutAnAction) {
  std::mt19937 random(5);
  const std::vector<float> scores = tied_scores(100, random);
  Policy at_context = NaivePolicy{Budget::kKeep, 0.1, 0, 0, WindowRule::kUsual, 1}.policy();
  at_context.at_context = true;
  const Policy neutral = NaivePolicy{Budget::kKeep, 1, 0, 0, WindowRule::kUsual, 1}.policy();
  for (const Policy& policy : {at_context, neutral}) {
    const NaiveLife life = planned_in_blocks(policy, scores, random, 30);
    EXPECT_EQ(life.evict_at, std::vector<int32_t>(100, kNever));
    EXPECT_EQ(life.counts.evictions, 0);
  }
}

// may_evict() spares the planning: where it says no, the step-by-step policy evicts nothing in the block, and
// where that evicts something, it says yes.
TEST(Lifetimes, NothingGoesWhereNothingMay) {
  std::mt19937 random(6);
  int64_t blocks = 0, spared = 0;
  for (const NaivePolicy& naive : policies()) {
    SCOPED_TRACE(text(naive));
    const std::vector<float> scores = tied_scores(140, random);
    const NaiveLife life = naive_lifetimes(naive, scores);
    const Policy policy = naive.policy();
    for (int64_t first = 0; first < 140;) {
      const int64_t rows = std::min<int64_t>(1 + random() % 30, 140 - first), end = first + rows;
      int64_t live = 0, going = 0;
      for (int64_t j = 0; j < end; ++j) {
        live += j < first && life.evict_at[j] > first;
        going += life.evict_at[j] > first && life.evict_at[j] <= end;
      }
      const bool may = may_evict(policy, live, first, rows);
      EXPECT_TRUE(may || going == 0) << going << " go in [" << first << ", " << end << ")";
      ++blocks;
      spared += !may;
      first = end;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(spared * 10, blocks) << "it spares something";
}

}  // namespace
}  // namespace kvlab
