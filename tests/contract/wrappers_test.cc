// What holds for wrappers beyond what every method promises: neutral and destructive settings, schedules, and
// that uneven budgets free what they say.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "contract/harness.h"
#include "engine/scoring.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::largest_difference;
using testing::method_of;
using testing::Outcome;
using testing::random_tokens;
using testing::run;
using testing::RunPlan;
using testing::tiny_model;
using testing::tiny_shape;
using testing::wrapped_context_recipes;
using testing::wrapped_streaming_recipes;
using testing::wrapped_two_phase_recipes;

class WrapperContractTest : public testing::OneThread {};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

TEST_F(WrapperContractTest, ManyRecipesAreTested) {
  size_t composed = 0, all = 0;
  for (const auto& recipes :
       {wrapped_streaming_recipes(), wrapped_context_recipes(0.3), wrapped_two_phase_recipes()}) {
    all += recipes.size();
    composed +=
        static_cast<size_t>(std::count_if(recipes.begin(), recipes.end(), [](const std::string& recipe) {
          return recipe.find("(of=") != recipe.rfind("(of=");
        }));
  }
  EXPECT_GE(all, 40u);
  EXPECT_GE(composed, 12u);
}

TEST_F(WrapperContractTest, RoomForAllChangesNothing) {
  const std::vector<int32_t> tokens = random_tokens(150, 21);
  const Outcome dense = run(method_of("none"), tokens);
  std::vector<std::string> recipes;
  for (const std::string& recipe : wrapped_streaming_recipes())
    recipes.push_back(replaced(recipe, "size=24", "size=150"));
  for (const std::string& recipe : wrapped_context_recipes(0.3))
    recipes.push_back(replaced(recipe, "keep=0.3", "keep=1"));
  for (const std::string& recipe : wrapped_context_recipes(0.3))
    recipes.push_back(replaced(recipe, "keep=0.3", "size=100"));
  for (const std::string& recipe : recipes) {
    if (recipe.empty()) continue;  // of another budget
    SCOPED_TRACE(recipe);
    RunPlan plan;
    if (method_of(recipe)->spec.policy.at_context) plan.context = 100;
    const Outcome own = run(method_of(recipe), tokens, plan);
    EXPECT_LT(largest_difference(dense.hidden, own.hidden), 1e-4);
    EXPECT_EQ(own.counts.evictions, 0);
    EXPECT_EQ(own.live, dense.live);
  }
}

double mean_divergence(const HiddenStates& base, const HiddenStates& own) {
  const Fidelity fidelity = compare_states(*tiny_model(), base, own, base.rows);
  return std::accumulate(fidelity.kl.begin(), fidelity.kl.end(), 0.0) / static_cast<double>(base.rows);
}

TEST_F(WrapperContractTest, DestructiveSettingsDestroy) {
  const std::vector<int32_t> tokens = random_tokens(150, 22);
  Session dense(tiny_model(), method_of("none"), cache_options());
  const HiddenStates base = dense.extend(tokens);
  for (const std::string& recipe : wrapped_streaming_recipes(0)) {
    const std::string harsh = replaced(recipe, "keep=0.3", "keep=0.02,sinks=0");
    if (harsh.empty()) continue;
    SCOPED_TRACE(harsh);
    Session session(tiny_model(), method_of(harsh), cache_options());
    EXPECT_GT(mean_divergence(base, session.extend(tokens)), 0.1);
  }
}

// What is evicted changes later tokens' states under every wrapper, and under each of the two phases.
TEST_F(WrapperContractTest, ACompressedContextIsMissed) {
  const std::vector<int32_t> tokens = random_tokens(150, 24);
  Session dense(tiny_model(), method_of("none"), cache_options());
  dense.extend(std::span(tokens).first(100));
  const HiddenStates base = dense.extend(std::span(tokens).subspan(100));
  for (const std::string& recipe : wrapped_context_recipes(0.03)) {
    SCOPED_TRACE(recipe);
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(std::span(tokens).first(100));
    session.end_context();
    EXPECT_GT(mean_divergence(base, session.extend(std::span(tokens).subspan(100))), 0.01);
  }
}

// Head and layer budgets that differ add up to what the budget says, and what they do not use is given back.
TEST_F(WrapperContractTest, UnevenBudgetsFreeMemory) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(1200, 26);
  Session dense(tiny_model(), method_of("none"), cache_options());
  dense.extend(tokens);
  const CacheBytes whole = dense.cache().bytes();
  for (const char* recipe :
       {"adakv(of=snapkv(queries=16),keep=0.25,at=context)", "adakv(of=h2o,keep=0.25,window=32)",
        "pyramidkv(of=snapkv(queries=16),beta=4,keep=0.25,at=context)",
        "pyramidkv(of=h2o,beta=4,keep=0.25,window=32)", "whole_model(of=keydiff,keep=0.25,at=context)",
        "pyramidkv(of=adakv(of=h2o),beta=4,keep=0.25,window=32)"}) {
    SCOPED_TRACE(recipe);
    const int64_t start = allocated_bytes(Account::kCache);
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(tokens);
    session.end_context();
    const KvCache& cache = session.cache();
    const CacheBytes bytes = cache.bytes();
    EXPECT_NEAR(static_cast<double>(bytes.payload), 0.25 * static_cast<double>(whole.payload),
                0.0025 * static_cast<double>(whole.payload));
    EXPECT_EQ(bytes.total(), allocated_bytes(Account::kCache) - start);
    // Half of a page of each head at most is empty on average, and the lists have room for half as many more.
    const int64_t page = int64_t{16} * 2 * tiny_shape().head_dim * 4;
    EXPECT_LT(bytes.slack,
              tiny_shape().layers * tiny_shape().kv_heads * page + bytes.positions + bytes.scores);
    int64_t least = cache.store(0, 0).size(), most = least;
    for (int layer = 0; layer < tiny_shape().layers; ++layer) {
      for (int head = 0; head < tiny_shape().kv_heads; ++head) {
        least = std::min<int64_t>(least, cache.store(layer, head).size());
        most = std::max<int64_t>(most, cache.store(layer, head).size());
      }
    }
    EXPECT_GT(most, least) << "the test means little where budgets are even";
  }
}

// After each n tokens down to the size: between two actions a head grows by n - 1 entries.
TEST_F(WrapperContractTest, SchedulesHoldBetweenTargetAndTargetPlusInterval) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(120, 27);
  for (const char* recipe :
       {"knorm(size=24,every=16,window=4)", "snapkv(queries=4,size=24,every=16,window=4)",
        "decoding_press(size=24,every=16,window=4)", "block_press(size=24,every=16,window=4)",
        "merge(of=h2o,size=24,every=16,window=4)"}) {
    SCOPED_TRACE(recipe);
    Session session(tiny_model(), method_of(recipe), cache_options());
    for (int64_t n = 1; n <= 120; ++n) {
      session.extend(std::span(tokens).subspan(n - 1, 1));
      for (int layer = 0; layer < tiny_shape().layers; ++layer) {
        for (int head = 0; head < tiny_shape().kv_heads; ++head) {
          const int64_t live = session.cache().store(layer, head).size();
          if (n < 32) {
            ASSERT_EQ(live, n);
          } else {
            ASSERT_EQ(live, 24 + n % 16) << "after " << n;
          }
        }
      }
    }
  }
}

// The tokens after a renumbered context stand right behind it, in forks too.
TEST_F(WrapperContractTest, RenumberedTokensFollowTheContext) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(120, 28);
  Session session(tiny_model(), method_of("rerotate(of=streaming_llm(sinks=4),keep=0.3,at=context)"),
                  cache_options());
  session.extend(std::span(tokens).first(100));
  session.end_context();
  EXPECT_EQ(session.cache().rotary_shift(), 70);
  Session fork = session.fork();
  EXPECT_EQ(fork.cache().rotary_shift(), 70);
  const HiddenStates own = session.extend(std::span(tokens).subspan(100));
  const HiddenStates other = fork.extend(std::span(tokens).subspan(100));
  EXPECT_EQ(std::vector<float>(own.values.data(), own.row(own.rows)),
            std::vector<float>(other.values.data(), other.row(other.rows)));
  EXPECT_EQ(session.tokens(), 120);
}

}  // namespace
}  // namespace kvlab
