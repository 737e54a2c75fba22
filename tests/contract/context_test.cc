// at=context: the method acts once, at the end of the context, and never again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "contract/harness.h"
#include "evals/document_run.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::context_recipes;
using testing::live_entries;
using testing::method_of;
using testing::needed_arguments;
using testing::online_scorers;
using testing::Outcome;
using testing::random_tokens;
using testing::run;
using testing::RunPlan;
using testing::tiny_model;
using testing::tiny_shape;

class AtContextTest : public testing::OneThread {};

constexpr int64_t kContext = 97, kTokens = 140;

TEST_F(AtContextTest, ActsOnceAndKeepsTheFloor) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(kTokens, 61);
  for (const double keep : {0.3, 0.5}) {
    const auto kept = static_cast<size_t>(std::floor(kContext * keep));
    for (const std::string& recipe : context_recipes(keep)) {
      SCOPED_TRACE(recipe);
      Session session(tiny_model(), method_of(recipe), cache_options());
      session.extend(std::span(tokens).first(kContext));
      for (const auto& positions : live_entries(session.cache())) {
        EXPECT_EQ(positions.size(), static_cast<size_t>(kContext)) << "acted before the end";
      }
      session.end_context();
      const auto after = live_entries(session.cache());
      for (const auto& positions : after) EXPECT_EQ(positions.size(), kept);
      session.end_context();  // only the first call counts
      EXPECT_EQ(live_entries(session.cache()), after);

      const int64_t evictions = session.cache().evictions().evictions;
      EXPECT_EQ(evictions, static_cast<int64_t>((kContext - kept) * after.size()));
      session.extend(std::span(tokens).subspan(kContext));
      session.end_context();
      EXPECT_EQ(session.cache().evictions().evictions, evictions) << "evicted after the context";
      for (const auto& positions : live_entries(session.cache())) {
        EXPECT_EQ(positions.size(), kept + kTokens - kContext);
      }
    }
  }
}

TEST_F(AtContextTest, ProtectsSinksAndWindow) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(kTokens, 62);
  for (const ScorerInfo* scorer : online_scorers()) {
    const std::string recipe =
        fmt::format("{}(keep=0.2,at=context,sinks=3,window=5{})", scorer->name, needed_arguments(*scorer));
    SCOPED_TRACE(recipe);
    RunPlan plan;
    plan.context = kContext;
    const Outcome outcome = run(method_of(recipe), tokens, plan);
    for (const auto& evict_at : outcome.lifetimes.evict_at) {
      for (int64_t p = 0; p < kTokens; ++p) {
        if (p < 3 || p >= kContext - 5) {
          EXPECT_EQ(evict_at[p], kNever) << p;
        }
        EXPECT_TRUE(evict_at[p] == kNever || evict_at[p] == kContext) << p;
      }
    }
  }
}

// A fork taken after the context's end, or before it, acts no more and no less than its parent.
TEST_F(AtContextTest, ForksKnowWhetherTheContextHasEnded) {
  const std::vector<int32_t> tokens = random_tokens(kTokens, 63);
  for (const std::string& recipe : context_recipes(0.3)) {
    SCOPED_TRACE(recipe);
    Session parent(tiny_model(), method_of(recipe), cache_options());
    parent.extend(std::span(tokens).first(kContext));
    Session before = parent.fork();
    parent.end_context();
    Session after = parent.fork();
    EXPECT_EQ(before.cache().evictions().evictions, 0);
    after.extend(std::span(tokens).subspan(kContext));
    after.end_context();
    EXPECT_EQ(after.cache().evictions().evictions, parent.cache().evictions().evictions);
    before.end_context();
    EXPECT_EQ(live_entries(before.cache()), live_entries(parent.cache()));
  }
}

// The prefix protocol scores what follows the context, its first token by a query that saw everything.
TEST_F(AtContextTest, PrefixProtocol) {
  KVLAB_NEEDS_FULL_ATTENTION();
  TokenDocument document;
  document.tokens = random_tokens(kTokens, 64);
  document.scored.assign(kTokens, 1);
  document.scored[0] = 0;
  RunOptions options;
  options.protocol = {Protocol::Kind::kPrefix, kContext};
  options.prompts = testing::random_prompts();
  const DocumentRun dense = run_document(tiny_model(), method_of("none"), document, options);
  for (const std::string& recipe : context_recipes(0.3)) {
    SCOPED_TRACE(recipe);
    const DocumentRun own = run_document(tiny_model(), method_of(recipe), document, options);
    ASSERT_EQ(own.queries.size(), static_cast<size_t>(kTokens - kContext));
    EXPECT_EQ(own.queries.front(), kContext - 1);
    EXPECT_EQ(own.queries.back(), kTokens - 2);
    EXPECT_EQ(own.touched.front(), 0);
    EXPECT_EQ(own.result.tokens_touched, kTokens - kContext - 1);
    EXPECT_NEAR(own.nll.front(), dense.nll.front(), 1e-4);
    EXPECT_GT(std::abs(own.nll[1] - dense.nll[1]), 1e-5);
  }
}

TEST_F(AtContextTest, RefusesAContextThatLeavesNothing) {
  TokenDocument document;
  document.tokens = random_tokens(20, 65);
  document.scored.assign(20, 1);
  for (const int64_t context : {0, 20, 21}) {
    RunOptions options;
    options.protocol = {Protocol::Kind::kPrefix, context};
    EXPECT_ANY_THROW(run_document(tiny_model(), method_of("none"), document, options)) << context;
  }
}

}  // namespace
}  // namespace kvlab
