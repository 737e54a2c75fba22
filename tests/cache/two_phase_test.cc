// Two phases against the step-by-step reference, for scorers of all kinds, in any split; and against the one
// phase that they contain.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/threads.h"
#include "cache/two_phase_reference.h"
#include "support/damage.h"

namespace kvlab {
namespace {

using testing::error_text;
using ::testing::HasSubstr;
using testing::LayerData;
using testing::LayerOutcome;
using testing::naive_two_phase;
using testing::NaivePhase;
using testing::NaivePolicy;
using testing::run_cache;

constexpr int64_t kContext = 45, kTokens = 100;

const ModelShape& shape() {
  static const ModelShape one_layer = {1, 16, 4, 2, 8, {1.0, 0.3, 0.05, 0.01}};
  return one_layer;
}

std::shared_ptr<const Method> method_of(const std::string& recipe) {
  return make_method(resolve_recipe(recipe, {}), shape());
}

// A method as the recipe says it, and its budget once more for the reference.
struct Phase {
  std::string recipe;  // without its end: "knorm(keep=0.4,sinks=2,window=3"
  NaivePolicy policy;
};

using Budget = NaivePolicy::Budget;
const Phase kFixed = {"knorm(keep=0.4,sinks=2,window=3", {Budget::kKeep, 0.4, 2, 3, WindowRule::kUsual, 1}};
const Phase kFixedSize = {"random(size=20,sinks=1,window=6,seed=3",
                          {Budget::kSize, 20, 1, 6, WindowRule::kUsual, 1}};
const Phase kWeights = {"h2o(keep=0.4,sinks=1,window=4", {Budget::kKeep, 0.4, 1, 4, WindowRule::kUsual, 1}};
const Phase kRelative = {"h2o(threshold=0.9,sinks=1,window=4",
                         {Budget::kThreshold, 0.9, 1, 4, WindowRule::kUsual, 1}};
const Phase kMean = {"observed_attention(free_density=0.3,sinks=3,window=5",
                     {Budget::kFreeDensity, 0.3, 3, 5, WindowRule::kUsual, 1}};
const Phase kJoint = {"tova(size=18,sinks=1,window=2", {Budget::kSize, 18, 1, 2, WindowRule::kUsual, 1}};
const Phase kVotes = {"snapkv(size=22,queries=6,kernel=3,sinks=1,window=2",
                      {Budget::kSize, 22, 1, 2, WindowRule::kUsual, 1}};
const Phase kMoments = {"expected_attention(keep=0.4,sinks=3,window=4",
                        {Budget::kKeep, 0.4, 3, 4, WindowRule::kUsual, 1}};

std::string two_phase(const Phase& context, const Phase& decode, int64_t every) {
  return fmt::format("two_phase(context={}),decode={},every={}))", context.recipe, decode.recipe, every);
}

// Blocks that end where the context does.
std::vector<std::vector<int>> splits() {
  std::vector<int> ones(kTokens, 1), sevens;
  for (int64_t at = 0; at < kTokens; at += sevens.back())
    sevens.push_back(static_cast<int>(std::min<int64_t>(7, (at < kContext ? kContext : kTokens) - at)));
  return {{kContext, kTokens - kContext}, ones, sevens, {1, kContext - 1, 1, 1, kTokens - kContext - 2}};
}

void expect_equal(const LayerOutcome& wanted, const LayerOutcome& got) {
  EXPECT_EQ(got.evict_at, wanted.evict_at);
  EXPECT_EQ(got.counts.evictions, wanted.counts.evictions);
  EXPECT_EQ(got.counts.forced, wanted.counts.forced);
  double largest = 0;
  for (size_t i = 0; i < got.out.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(got.out[i]) - wanted.out[i]));
  EXPECT_LT(largest, 1e-4);
}

class TwoPhase : public ::testing::Test {
 protected:
  TwoPhase() { set_thread_count(1); }
  ~TwoPhase() override { set_thread_count(before_); }

  // Every split of the cache against the reference; `every` of the decoding method.
  void check(const Phase& context, const Phase& decode, int64_t every) {
    const std::string recipe = two_phase(context, decode, every);
    SCOPED_TRACE(recipe);
    const auto first = method_of(context.recipe + ",at=context)"), second = method_of(decode.recipe + ")");
    NaivePhase naive_decode{second.get(), decode.policy};
    naive_decode.policy.every = every;
    const LayerOutcome wanted = naive_two_phase(data_, {first.get(), context.policy}, naive_decode, kContext);
    EXPECT_GT(wanted.counts.evictions, 60) << "the test means little where little goes";
    for (const std::vector<int>& blocks : splits()) {
      SCOPED_TRACE(fmt::format("{} blocks", blocks.size()));
      expect_equal(wanted, run_cache(data_, method_of(recipe), blocks, kContext));
    }
  }

  const LayerData data_{shape(), kTokens, 5};

 private:
  int before_ = thread_count();
};

TEST_F(TwoPhase, FixedThenFixed) {
  check(kFixed, kFixedSize, 1);
  check(kFixedSize, kFixed, 4);
}
TEST_F(TwoPhase, WeightsThenFixed) {
  check(kWeights, kFixed, 1);
  check(kJoint, kFixedSize, 3);
}
TEST_F(TwoPhase, FixedThenWeights) {
  check(kFixed, kWeights, 1);
  check(kFixed, kRelative, 1);
  check(kFixedSize, kMean, 3);
}
TEST_F(TwoPhase, WeightsThenWeights) {
  check(kWeights, kMean, 1);
  check(kRelative, kWeights, 2);
  check(kJoint, kWeights, 1);
  check(kJoint, kJoint, 3);
}
TEST_F(TwoPhase, PeriodicThenWeights) {
  check(kVotes, kWeights, 1);
  check(kMoments, kRelative, 3);
}
TEST_F(TwoPhase, WeightsThenPeriodic) {
  check(kWeights, kVotes, 5);
  check(kJoint, kMoments, 8);
}
TEST_F(TwoPhase, PeriodicThenPeriodic) {
  check(kVotes, kMoments, 5);
  check(kMoments, kVotes, 8);
}
TEST_F(TwoPhase, PeriodicAndFixed) {
  check(kMoments, kFixed, 1);
  check(kFixedSize, kMoments, 6);
}

TEST_F(TwoPhase, NothingGoesBeforeTheEndOfTheContext) {
  const auto second = method_of(kWeights.recipe + ")");
  const LayerOutcome wanted = naive_two_phase(data_, {}, {second.get(), kWeights.policy}, kContext);
  for (const std::vector<int>& blocks : splits())
    expect_equal(
        wanted, run_cache(data_, method_of("two_phase(context=none,decode=" + kWeights.recipe + "))"), blocks,
                          kContext));
}

// With scores and a limit that do not move, a streaming method holds at each n what it would hold had it
// begun there: so without a method for the context, what would have gone earlier goes at the first action.
TEST_F(TwoPhase, WithoutAContextMethodOnlyTheFirstActionDiffers) {
  const auto whole = std::vector<int>{kContext, kTokens - kContext};
  for (const int64_t every : {1, 4}) {
    const std::string decode = fmt::format("{},every={})", kFixedSize.recipe, every);
    const LayerOutcome streaming = run_cache(data_, method_of(decode), whole, kContext);
    const LayerOutcome own =
        run_cache(data_, method_of("two_phase(context=none,decode=" + decode + ")"), whole, kContext);
    const auto first_action = static_cast<int32_t>(kContext / every * every + every);
    for (size_t head = 0; head < own.evict_at.size(); ++head) {
      for (size_t p = 0; p < own.evict_at[head].size(); ++p)
        EXPECT_EQ(own.evict_at[head][p], std::max(streaming.evict_at[head][p], first_action)) << p;
    }
  }
}

TEST_F(TwoPhase, WithoutADecodingMethodItIsAtContext) {
  for (const Phase& phase : {kFixed, kWeights, kJoint, kVotes, kMoments}) {
    SCOPED_TRACE(phase.recipe);
    for (const std::vector<int>& blocks : splits()) {
      const LayerOutcome alone = run_cache(data_, method_of(phase.recipe + ",at=context)"), blocks, kContext);
      const LayerOutcome own = run_cache(
          data_, method_of("two_phase(context=" + phase.recipe + "),decode=none)"), blocks, kContext);
      EXPECT_EQ(own.evict_at, alone.evict_at);
      EXPECT_EQ(own.out, alone.out);
    }
  }
}

// Heads that decide together have one list of entries, so a context may not leave them several.
TEST_F(TwoPhase, RefusesJointHeadsAfterAContextThatPartsThem) {
  for (const std::string context : {"knorm(keep=0.5)", "h2o(keep=0.5)", "snapkv(keep=0.5)"}) {
    EXPECT_THAT(error_text([&] { method_of("two_phase(context=" + context + ",decode=tova(keep=0.5))"); }),
                HasSubstr("tova keeps the same entries in all KV heads"))
        << context;
  }
  for (const std::string context : {"none", "tova(keep=0.5)", "streaming_llm(keep=0.5)", "knorm(keep=1)"})
    EXPECT_NO_THROW(method_of("two_phase(context=" + context + ",decode=tova(keep=0.5))")) << context;
}

}  // namespace
}  // namespace kvlab
