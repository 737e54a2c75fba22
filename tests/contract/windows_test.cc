// Models whose layers have sliding windows of their own: what leaves a window is gone without being evicted,
// and budgets reckon with what is in it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "contract/harness.h"
#include "evals/document_run.h"
#include "support/tiny_architectures.h"

namespace kvlab {
namespace {

using testing::live_entries;
using testing::random_tokens;

constexpr int kTokens = 150;
constexpr double kKeep = 0.3;

struct Windowed : testing::OneThread, ::testing::WithParamInterface<const char*> {
  std::shared_ptr<const Model> model = load_model(testing::tiny_files(GetParam()), {DType::kF32});
  ModelShape shape = shape_of(model->config());
  std::vector<int32_t> tokens = random_tokens(kTokens, 31);

  Session session(const std::string& recipe) const {
    CacheOptions options;
    options.record_lifetimes = true;
    return Session(model, make_method(resolve_recipe(recipe, {}), shape), options);
  }
  // Tokens before the n-th whose entries query n may see.
  int64_t first_in_reach(int layer, int64_t n) const {
    return shape.window(layer) > 0 ? std::max<int64_t>(0, n - shape.window(layer) + 1) : 0;
  }
  struct Ran {
    std::vector<float> hidden;
    int64_t evictions = 0;
  };
  Ran run(const std::string& recipe) const {
    Session own = session(recipe);
    const HiddenStates states = own.extend(tokens);
    return {{states.values.data(), states.row(states.rows)}, own.cache().evictions().evictions};
  }
  int layer_of(size_t head) const { return static_cast<int>(head) / shape.kv_heads; }
};

TEST_P(Windowed, WithoutAMethodWhatIsInReachStaysAndNothingIsEvicted) {
  for (const int extend : {1, 17, kTokens}) {
    Session own = session("none");
    for (int at = 0; at < kTokens; at += extend)
      own.extend(std::span(tokens).subspan(at, std::min(extend, kTokens - at)));
    const auto live = live_entries(own.cache());
    for (size_t head = 0; head < live.size(); ++head) {
      std::vector<int32_t> expected(kTokens - first_in_reach(layer_of(head), kTokens));
      std::iota(expected.begin(), expected.end(), kTokens - static_cast<int>(expected.size()));
      EXPECT_EQ(live[head], expected) << "head " << head;
    }
    EXPECT_EQ(own.cache().evictions().evictions, 0);
    for (const int64_t change : own.cache().evicted_at()) EXPECT_EQ(change, 0);
  }
}

TEST_P(Windowed, BudgetsReckonWithWhatIsInReach) {
  for (const char* name :
       {"knorm(keep=0.3,window=2)", "h2o(keep=0.3,window=2)", "tova(keep=0.3)",
        "streaming_llm(keep=0.3,sinks=2,window=2)", "random(keep=0.3,window=2)",
        "expected_attention(keep=0.3,window=2,every=1)", "snapkv(keep=0.3,window=2,every=1)",
        "keydiff(keep=0.3,window=2,every=1)", "observed_attention(keep=0.3,window=2)"}) {
    SCOPED_TRACE(name);
    Session own = session(name);
    for (int64_t n = 1; n <= kTokens; ++n) {
      own.extend(std::span(tokens).subspan(n - 1, 1));
      const auto live = live_entries(own.cache());
      for (size_t head = 0; head < live.size(); ++head) {
        const int layer = layer_of(head);
        const double limit = std::floor(static_cast<double>(shape.reach(layer, n)) * kKeep + 1e-6);
        EXPECT_LE(live[head].size(), std::max(6.0, limit)) << "after " << n << ", head " << head;
        EXPECT_GE(live[head].front(), first_in_reach(layer, n)) << "after " << n << ", head " << head;
      }
      if (HasFailure()) return;
    }
    EXPECT_GT(own.cache().evictions().evictions, 100);
  }
}

// Entries leave the window before such a budget would ask for any.
TEST_P(Windowed, ABudgetOfTheWholeReachChangesNothing) {
  const Ran none = run("none");
  for (const char* scorer : {"knorm", "h2o", "tova", "streaming_llm", "expected_attention", "keydiff"}) {
    SCOPED_TRACE(scorer);
    const Ran own = run(fmt::format("{}(size={})", scorer, kTokens));
    EXPECT_EQ(own.evictions, 0);
    for (size_t i = 0; i < none.hidden.size(); ++i) ASSERT_NEAR(own.hidden[i], none.hidden[i], 1e-4) << i;
  }
}

TEST_P(Windowed, QueriesMissWhatWasEvictedOnlyWhileItWouldBeInReach) {
  for (const char* name : {"knorm(keep=0.4,window=3)", "h2o(keep=0.4,window=3)", "snapkv(keep=0.4,every=5)",
                           "knorm(threshold=-4,window=3)"}) {
    SCOPED_TRACE(name);
    Session own = session(name);
    own.extend(tokens);
    const LifetimeRecord& lives = own.cache().lifetimes();
    int64_t counted = 0;
    for (int query = 0; query < kTokens; ++query) {
      counted += own.cache().evicted_at()[query];
      int64_t missing = 0;
      for (size_t head = 0; head < lives.evict_at.size(); ++head) {
        for (int64_t p = first_in_reach(layer_of(head), query); p <= query; ++p)
          missing += lives.evict_at[head][p] <= query;
      }
      ASSERT_EQ(counted, missing) << "query " << query;
    }
    EXPECT_GT(counted, 0);
  }
}

// Without a method nothing is missing, so every share of what is kept and seen is 1.
TEST_P(Windowed, TheBaselineOfADocumentIsWhole) {
  TokenDocument document;
  document.tokens = tokens;
  document.scored.assign(kTokens, 1);
  document.scored[0] = 0;
  RunOptions options;
  options.common_window = 16;
  const DocumentRun none = run_document(model, make_method(no_compression(), shape), document, options);
  EXPECT_EQ(none.result.overall.kept, none.result.overall.all);
  EXPECT_EQ(none.result.outside_window.kept, none.result.outside_window.all);
  EXPECT_EQ(none.result.seen_visible, none.result.seen_dense);
  EXPECT_EQ(none.result.tokens_touched, 0);
  const DocumentRun half =
      run_document(model, make_method(resolve_recipe("knorm(keep=0.5)", {}), shape), document, options);
  const double kept = static_cast<double>(half.result.overall.kept) / half.result.overall.all;
  EXPECT_NEAR(kept, 0.5, 0.02);
  EXPECT_GT(half.result.tokens_touched, 0);
}

INSTANTIATE_TEST_SUITE_P(Architectures, Windowed, ::testing::Values("mistral", "phi3", "gemma3_text"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvlab
