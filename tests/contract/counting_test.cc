// What run_document counts, against a count from the record of lives: touched tokens, densities seen, forced
// evictions.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/naive_policy.h"
#include "contract/harness.h"
#include "evals/document_run.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

class CountingTest : public testing::OneThread {};

constexpr int64_t kTokens = 150;

TokenDocument document(uint64_t seed) {
  TokenDocument document;
  document.index = 3;
  document.id = "doc";
  document.tokens = random_tokens(kTokens, seed);
  document.scored.assign(kTokens, 1);
  document.scored[0] = 0;
  for (const int unscored : {5, 6, 60, 149}) document.scored[unscored] = 0;
  return document;
}

struct Counted {
  int64_t scored = 0, touched = 0;
  double visible = 0, dense = 0;
  std::vector<uint8_t> touched_by_query;
};

Counted count(const LifetimeRecord& lives, const TokenDocument& document, int64_t first_query) {
  Counted counted;
  for (int64_t q = first_query; q + 1 < kTokens; ++q) {
    if (!document.scored[q + 1]) continue;
    ++counted.scored;
    bool misses = false;
    for (const auto& evict_at : lives.evict_at) {
      for (int64_t j = 0; j <= q; ++j) {
        counted.dense += 1;
        counted.visible += q < evict_at[j];
        misses |= q >= evict_at[j];
      }
    }
    counted.touched += misses;
    counted.touched_by_query.push_back(misses);
  }
  return counted;
}

EntryCount kept_between(const LifetimeRecord& lives, int64_t first, int64_t end) {
  EntryCount count;
  for (const auto& evict_at : lives.evict_at) {
    for (int64_t j = first; j < end; ++j) {
      ++count.all;
      count.kept += evict_at[j] > kTokens;
    }
  }
  return count;
}

void expect_equal(const EntryCount& wanted, const EntryCount& got, const char* what) {
  EXPECT_EQ(wanted.kept, got.kept) << what;
  EXPECT_EQ(wanted.all, got.all) << what;
}

// Evictions at which nothing unprotected was left, from the lives alone: an action was forced when no
// unprotected entry outlived it.
int64_t forced_in(const MethodSpec& spec, const LifetimeRecord& lives, int64_t context) {
  int64_t forced = 0;
  for (const auto& evict_at : lives.evict_at) {
    for (int64_t n = 1; n <= kTokens; ++n) {
      const Policy& policy = spec.context && n <= context ? spec.context->policy : spec.policy;
      if (policy.threshold()) continue;
      int64_t gone = 0, left = 0;
      for (int64_t j = 0; j < n; ++j) {
        if (policy.is_protected(j, n)) continue;
        gone += evict_at[j] == n;
        left += evict_at[j] > n;
      }
      if (left == 0) forced += gone;
    }
  }
  return forced;
}

void expect_counts(const std::string& recipe, const RunOptions& options, int64_t first_query) {
  SCOPED_TRACE(recipe);
  const TokenDocument text = document(41);
  const auto method = method_of(recipe);
  const MethodSpec& spec = method->spec;
  const DocumentRun run = run_document(tiny_model(), method, text, options);
  const Counted wanted = count(run.lifetimes, text, first_query);
  const DocumentResult& got = run.result;
  EXPECT_EQ(got.tokens_scored, wanted.scored);
  EXPECT_EQ(got.tokens_touched, wanted.touched);
  EXPECT_EQ(run.touched, wanted.touched_by_query);
  EXPECT_EQ(got.seen_visible, wanted.visible);
  EXPECT_EQ(got.seen_dense, wanted.dense);
  EXPECT_EQ(got.kv_bytes_seen_sum, wanted.visible * 2 * 16 * 4);
  EXPECT_EQ(got.kv_bytes_baseline, kTokens * 3 * 2 * 2 * 16 * 4);
  EXPECT_EQ(got.kv_bytes,
            got.breakdown.payload + got.breakdown.positions + got.breakdown.scores + got.breakdown.slack);
  EXPECT_EQ(got.forced_evictions, forced_in(spec, run.lifetimes, options.protocol.context));
  int64_t evictions = 0;
  for (const auto& evict_at : run.lifetimes.evict_at) {
    for (const int32_t n : evict_at) evictions += n <= kTokens;
  }
  EXPECT_EQ(got.evictions, evictions);

  const int64_t outside = kTokens - options.common_window;
  expect_equal(kept_between(run.lifetimes, 0, kTokens), got.overall, "overall");
  expect_equal(kept_between(run.lifetimes, 0, outside), got.outside_window, "outside the window");
  const int64_t sinks = spec.context && !spec.context->dense()
                            ? std::min(spec.context->policy.sinks, spec.policy.sinks)
                            : spec.policy.sinks;
  expect_equal(kept_between(run.lifetimes, sinks, outside), got.compressible, "compressible");
  const int64_t own = kTokens - (spec.policy.budget ? spec.policy.window_at(kTokens) : options.common_window);
  expect_equal(kept_between(run.lifetimes, 0, own), got.outside_effective_window,
               "outside the method's window");
}

RunOptions options_with(int64_t extend_size) {
  RunOptions options;
  options.prompts = testing::random_prompts();
  options.record_lifetimes = true;
  options.common_window = 32;
  options.extend_size = extend_size;
  return options;
}

TEST_F(CountingTest, StreamedDocuments) {
  KVLAB_NEEDS_FULL_ATTENTION();
  std::vector<std::string> recipes = all_streaming_recipes();
  recipes.push_back("none");
  recipes.push_back("h2o(size=20,window=20)");  // every eviction is forced
  for (const std::string& recipe : recipes) {
    for (const int64_t extend : {0, 37}) expect_counts(recipe, options_with(extend), 0);
  }
}

TEST_F(CountingTest, CompressedContexts) {
  KVLAB_NEEDS_FULL_ATTENTION();
  std::vector<std::string> recipes = all_context_recipes(0.3);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  for (const std::string& recipe : recipes) {
    for (const int64_t extend : {0, 37}) {
      RunOptions options = options_with(extend);
      options.protocol = {Protocol::Kind::kPrefix, 90};
      expect_counts(recipe, options, 89);
    }
  }
}

// The lives are those that a plain step-by-step policy gives for the scorer's own scores: here the position.
TEST_F(CountingTest, LivesAreThoseOfTheStepByStepPolicy) {
  KVLAB_NEEDS_FULL_ATTENTION();
  using Naive = testing::NaivePolicy;
  std::vector<float> scores(kTokens);
  for (int64_t j = 0; j < kTokens; ++j) scores[j] = static_cast<float>(j);
  const Naive naive{Naive::Budget::kKeep, 0.25, 4, -1, WindowRule::kUsual, 3};
  const testing::NaiveLife wanted = naive_lifetimes(naive, scores);
  const DocumentRun run = run_document(tiny_model(), method_of("streaming_llm(keep=0.25,every=3)"),
                                       document(42), options_with(0));
  for (const auto& evict_at : run.lifetimes.evict_at) EXPECT_EQ(evict_at, wanted.evict_at);
  EXPECT_EQ(run.result.evictions, wanted.counts.evictions * 6);
  EXPECT_EQ(run.result.forced_evictions, wanted.counts.forced * 6);
}

}  // namespace
}  // namespace kvlab
