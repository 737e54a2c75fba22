// What holds for every method whatever it is worth: neutral settings change nothing, destructive ones do, the
// future has no say, and short documents work. That threads have none either: threads_test.cc.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "contract/harness.h"
#include "engine/scoring.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;
using testing::cache_options;
using testing::largest_difference;
using testing::method_of;
using testing::needed_arguments;
using testing::online_scorers;
using testing::Outcome;
using testing::random_tokens;
using testing::run;
using testing::RunPlan;
using testing::streaming_scorers;
using testing::tiny_model;
using testing::tiny_shape;

class ContractTest : public testing::OneThread {};

// The scale that differences of hidden states are measured against: their largest value.
double scale_of(const std::vector<float>& hidden) {
  double largest = 0;
  for (const float x : hidden) {
    if (!(std::abs(x) <= largest)) largest = std::abs(x);  // a NaN shows
  }
  return largest;
}

TEST_F(ContractTest, NeutralSettingsChangeNothing) {
  const std::vector<int32_t> tokens = random_tokens(150, 21);
  const Outcome dense = run(method_of("none"), tokens);
  for (const ScorerInfo* scorer : online_scorers()) {
    for (const std::string setting :
         {"keep=1", "free_density=1", "threshold=-1e30", "size=150", "keep=1,at=context"}) {
      if (setting[0] == 't' && !scorer->no_threshold.empty()) continue;
      const std::string recipe = fmt::format("{}({}{})", scorer->name, setting, needed_arguments(*scorer));
      SCOPED_TRACE(recipe);
      RunPlan plan;
      if (setting.ends_with("context")) plan.context = 100;
      const Outcome own = run(method_of(recipe), tokens, plan);
      EXPECT_LT(largest_difference(dense.hidden, own.hidden), 1e-5 * scale_of(dense.hidden));
      EXPECT_EQ(own.counts.evictions, 0);
      EXPECT_EQ(own.live, dense.live);
    }
  }
}

TEST_F(ContractTest, NeutralPhasesChangeNothing) {
  const std::vector<int32_t> tokens = random_tokens(150, 21);
  const Outcome dense = run(method_of("none"), tokens);
  RunPlan plan;
  plan.context = 100;
  for (const ScorerInfo* scorer : streaming_scorers()) {
    const std::string neutral = fmt::format("{}(keep=1{})", scorer->name, needed_arguments(*scorer));
    for (const auto& [context, decode] :
         {std::pair<std::string, std::string>{neutral, "h2o(keep=1)"}, {"h2o(keep=1)", neutral}}) {
      const std::string recipe = fmt::format("two_phase(context={},decode={})", context, decode);
      SCOPED_TRACE(recipe);
      const Outcome own = run(method_of(recipe), tokens, plan);
      EXPECT_LT(largest_difference(dense.hidden, own.hidden), 1e-5 * scale_of(dense.hidden));
      EXPECT_EQ(own.live, dense.live);
    }
  }
}

TEST_F(ContractTest, DestructiveSettingsDestroy) {
  const std::vector<int32_t> tokens = random_tokens(150, 22);
  Session dense(tiny_model(), method_of("none"), cache_options());
  const HiddenStates base = dense.extend(tokens);
  for (const ScorerInfo* scorer : streaming_scorers()) {
    for (const std::string setting : {"keep=0.02", "size=1", "free_density=0"}) {
      const int window =
          setting == "free_density=0" ? 1 : 0;  // a head that keeps nothing would be something else
      const std::string recipe = fmt::format("{}({},sinks=0,window={},every=1{})", scorer->name, setting,
                                             window, needed_arguments(*scorer));
      SCOPED_TRACE(recipe);
      Session session(tiny_model(), method_of(recipe), cache_options());
      const HiddenStates own = session.extend(tokens);
      const Fidelity fidelity = compare_states(*tiny_model(), base, own, base.rows);
      const double mean =
          std::accumulate(fidelity.kl.begin(), fidelity.kl.end(), 0.0) / static_cast<double>(base.rows);
      EXPECT_GT(mean, 0.1);
      EXPECT_LE(session.cache().live_entries(), int64_t{3} * tiny_shape().layers * tiny_shape().kv_heads);
    }
  }
}

// The first `rows` rows, and what was decided up to then, are the same whatever comes later.
void expect_no_future(const std::string& recipe, const std::vector<int32_t>& tokens, int64_t rows) {
  std::vector<int32_t> other = tokens;
  for (size_t i = static_cast<size_t>(rows); i < other.size(); ++i)
    other[i] = (other[i] + 1 + static_cast<int32_t>(i) % 7) % 96;
  const auto method = method_of(recipe);
  const Outcome a = run(method, tokens), b = run(method, other);
  const auto values = static_cast<size_t>(rows * tiny_shape().hidden);
  double largest = 0;
  for (size_t i = 0; i < values; ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a.hidden[i]) - b.hidden[i]));
  EXPECT_LE(largest, 1e-6);
  for (size_t h = 0; h < a.lifetimes.evict_at.size(); ++h) {
    for (int64_t p = 0; p < rows; ++p) {
      const int32_t one = a.lifetimes.evict_at[h][p], two = b.lifetimes.evict_at[h][p];
      if (one <= rows || two <= rows) {
        EXPECT_EQ(one, two) << "head " << h << ", entry " << p;
      }
    }
  }
}

TEST_F(ContractTest, TheFutureHasNoSay) {
  const std::vector<int32_t> tokens = random_tokens(140, 23);
  for (const std::string& recipe : all_streaming_recipes()) {
    SCOPED_TRACE(recipe);
    expect_no_future(recipe, tokens, 65);
    expect_no_future(recipe, tokens, 120);
  }
}

TEST_F(ContractTest, ShortDocumentsWork) {
  std::vector<std::string> recipes = all_streaming_recipes();
  for (const std::string& recipe : all_streaming_recipes(0)) recipes.push_back(recipe);
  for (const ScorerInfo* scorer : online_scorers()) {
    recipes.push_back(fmt::format("{}(keep=0.5{})", scorer->name, needed_arguments(*scorer)));  // all by rule
    recipes.push_back(fmt::format("{}(size=1,sinks=0,window=0{})", scorer->name, needed_arguments(*scorer)));
  }
  for (const std::string& recipe : all_context_recipes(0.5)) recipes.push_back(recipe);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  for (const std::string& recipe : recipes) {
    for (const int count : {1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} on {} tokens", recipe, count));
      const auto method = method_of(recipe);
      RunPlan plan;
      if (method->spec.policy.at_context) plan.context = count;
      if (method->spec.context) plan.context = 1;
      const Outcome outcome = run(method, random_tokens(count, 25), plan);
      EXPECT_TRUE(std::isfinite(scale_of(outcome.hidden)));
      for (const auto& positions : outcome.live) EXPECT_LE(positions.size(), static_cast<size_t>(count));
    }
  }
}

// Random scores that a threshold of 1 evicts all, and StreamingLLM of the same protection, keep the same
// entries after every token.
TEST_F(ContractTest, RandomValidationEqualsStreamingLlm) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(300, 26);
  const Outcome random = run(method_of("random_validation"), tokens);
  const Outcome streaming = run(method_of("streaming_llm(sinks=4,window=128)"), tokens);
  EXPECT_EQ(random.lifetimes.evict_at, streaming.lifetimes.evict_at);
  EXPECT_EQ(random.live, streaming.live);
  EXPECT_EQ(random.hidden, streaming.hidden);
  for (const auto& evict_at : random.lifetimes.evict_at) {
    for (int64_t n = 1; n <= 300; ++n) {
      for (int64_t p = 0; p < n; ++p)
        ASSERT_EQ(evict_at[p] > n, p < 4 || p >= n - 128) << "n " << n << ", entry " << p;
    }
  }
}

}  // namespace
}  // namespace kvlab
