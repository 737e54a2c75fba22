// The oracle's plan against plain loops over the dense attention, and what a session makes of a plan.
#include "engine/hindsight.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/error.h"
#include "contract/harness.h"
#include "evals/document_run.h"
#include "kernels/attention.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;

class HindsightTest : public testing::OneThread {};

// Queries and keys of one layer over a document.
class Collector : public LayerTap {
 public:
  Collector(int layer, const ModelShape& shape) : layer_(layer), shape_(shape) {}
  void see(const LayerBlock& block) override {
    if (block.layer != layer_) return;
    for (int r = 0; r < block.rows; ++r) {
      const float* query = block.q + r * block.q_stride;
      const float* key = block.k + r * block.kv_stride;
      q.insert(q.end(), query, query + shape_.query_heads * shape_.head_dim);
      k.insert(k.end(), key, key + shape_.kv_heads * shape_.head_dim);
    }
  }
  std::vector<float> q, k;

 private:
  int layer_;
  ModelShape shape_;
};

// weights[i][j]: the attention of query i to entry j, mean over the group's heads.
std::vector<std::vector<double>> plain_attention(const Collector& seen, const ModelShape& shape, int head,
                                                 int n) {
  std::vector<std::vector<double>> weights(n, std::vector<double>(n, 0.0));
  const int d = shape.head_dim;
  for (int g = head * shape.group(); g < (head + 1) * shape.group(); ++g) {
    for (int i = 0; i < n; ++i) {
      std::vector<double> row(i + 1);
      double sum = 0;
      for (int j = 0; j <= i; ++j) {
        double dot = 0;
        for (int x = 0; x < d; ++x) {
          dot += double{seen.q[(i * shape.query_heads + g) * d + x]} *
                 seen.k[(j * shape.kv_heads + head) * d + x];
        }
        row[j] = std::exp(dot * attention_scale(d));
        sum += row[j];
      }
      for (int j = 0; j <= i; ++j) weights[i][j] += row[j] / sum / shape.group();
    }
  }
  return weights;
}

// Evicts, after each token, the entry of least remaining attention while more than n / 2 are live.
std::vector<int32_t> plain_plan(const std::vector<std::vector<double>>& weights) {
  const int total = static_cast<int>(weights.size());
  std::vector<int32_t> evict_at(total, kNever);
  std::vector<int> live;
  for (int n = 1; n <= total; ++n) {
    live.push_back(n - 1);
    while (static_cast<int>(live.size()) > std::max(1, n / 2)) {
      const auto remaining = [&](int j) {
        double sum = 0;
        for (int i = n; i < total; ++i) sum += weights[i][j];
        return sum;
      };
      const auto least = std::min_element(live.begin(), live.end(),
                                          [&](int a, int b) { return remaining(a) < remaining(b); });
      evict_at[*least] = n;
      live.erase(least);
    }
  }
  return evict_at;
}

TEST_F(HindsightTest, TheOracleEvictsWhatTheFutureAttendsToLeast) {
  const int n = 60;
  const std::vector<int32_t> tokens = random_tokens(n, 5);
  const auto oracle = method_of("oracle(keep=0.5,value_norm=no)");
  const ModelShape& shape = oracle->shape;
  const auto record = plan_lifetimes_ahead(tiny_model(), oracle, tokens, {}, cache_options());
  const int layer = 1;
  CacheOptions options = cache_options();
  const auto seen = std::make_shared<Collector>(layer, shape);
  options.tap = seen;
  Session(tiny_model(), method_of("none"), options).extend(tokens);
  for (int head = 0; head < shape.kv_heads; ++head) {
    const auto expected = plain_plan(plain_attention(*seen, shape, head, n));
    const auto& planned = record->evict_at[layer * shape.kv_heads + head];
    // Near the end little is left to attend, and rounding may swap entries that are worth nothing.
    int different = 0;
    for (int j = 0; j < n; ++j) different += planned[j] != expected[j];
    EXPECT_LE(different, 2) << "head " << head;
    EXPECT_EQ(std::count(planned.begin(), planned.end(), kNever), n / 2);
  }
}

// With a threshold entry j goes at the first n from which on no horizon e pays: the sum over n <= i < e of
// (a_ij - threshold) is positive for none.
TEST_F(HindsightTest, AThresholdKeepsAnEntryAsLongAsItPays) {
  const int n = 60, layer = 1;
  const double threshold = 0.02;
  const std::vector<int32_t> tokens = random_tokens(n, 5);
  const auto oracle = method_of("oracle(threshold=0.02,value_norm=no)");
  const ModelShape& shape = oracle->shape;
  const auto record = plan_lifetimes_ahead(tiny_model(), oracle, tokens, {}, cache_options());
  CacheOptions options = cache_options();
  const auto seen = std::make_shared<Collector>(layer, shape);
  options.tap = seen;
  Session(tiny_model(), method_of("none"), options).extend(tokens);
  int evicted = 0;
  for (int head = 0; head < shape.kv_heads; ++head) {
    const auto weights = plain_attention(*seen, shape, head, n);
    for (int j = 0; j < n; ++j) {
      int32_t expected = kNever;
      for (int from = j + 1; from < n && expected == kNever; ++from) {
        double sum = 0, most = 0;
        for (int i = from; i < n; ++i) most = std::max(most, sum += weights[i][j] - threshold);
        if (most < 1e-7) expected = from;
      }
      EXPECT_EQ(record->evict_at[layer * shape.kv_heads + head][j], expected)
          << "head " << head << " entry " << j;
      evicted += expected != kNever;
    }
  }
  EXPECT_GT(evicted, 10);
}

TEST_F(HindsightTest, TheLengthOfTheValueCounts) {
  const std::vector<int32_t> tokens = random_tokens(60, 5);
  const auto plan = [&](const char* recipe) {
    return plan_lifetimes_ahead(tiny_model(), method_of(recipe), tokens, {}, cache_options())->evict_at;
  };
  EXPECT_EQ(plan("oracle(keep=0.5)"), plan("oracle(keep=0.5,value_norm=yes)"));
  EXPECT_NE(plan("oracle(keep=0.5)"), plan("oracle(keep=0.5,value_norm=no)"));
}

TokenDocument document_of(std::vector<int32_t> tokens) {
  TokenDocument document;
  document.id = "text";
  document.scored.assign(tokens.size(), 1);
  document.scored[0] = 0;
  document.tokens = std::move(tokens);
  return document;
}

TEST_F(HindsightTest, ARunObeysThePlanHoweverItIsCut) {
  const TokenDocument document = document_of(random_tokens(90, 6));
  const auto oracle = method_of("oracle(keep=0.25)");
  RunOptions whole, cut;
  whole.record_lifetimes = cut.record_lifetimes = true;
  cut.extend_size = 7;
  const DocumentRun a = run_document(tiny_model(), oracle, document, whole);
  const DocumentRun b = run_document(tiny_model(), oracle, document, cut);
  EXPECT_EQ(a.lifetimes.evict_at, b.lifetimes.evict_at);
  EXPECT_EQ(a.live, b.live);
  for (size_t i = 0; i < a.nll.size(); ++i) EXPECT_NEAR(a.nll[i], b.nll[i], 1e-4);
  for (const auto& layer : a.live) {
    for (const auto& positions : layer) EXPECT_EQ(positions.size(), 22u);
  }
  EXPECT_GT(a.result.evictions, 0);
  EXPECT_EQ(a.result.evictions, int64_t{90 - 22} * oracle->shape.layers * oracle->shape.kv_heads);
}

TEST_F(HindsightTest, AtTheEndOfAContextItActsOnce) {
  const TokenDocument document = document_of(random_tokens(90, 7));
  RunOptions options;
  options.protocol = {Protocol::Kind::kPrefix, 60};
  options.record_lifetimes = true;
  const DocumentRun run =
      run_document(tiny_model(), method_of("oracle(keep=0.5,at=context)"), document, options);
  for (const auto& evict_at : run.lifetimes.evict_at) {
    EXPECT_EQ(std::count(evict_at.begin(), evict_at.end(), 60), 30);
    EXPECT_EQ(std::count(evict_at.begin(), evict_at.end(), kNever), 60);
  }
}

TEST_F(HindsightTest, ASessionAloneCannotKnowTheFuture) {
  EXPECT_THROW(Session(tiny_model(), method_of("oracle(keep=0.5)"), cache_options()), UserError);
  EXPECT_THROW(method_of("two_phase(context=oracle,decode=knorm)"), UserError);
  EXPECT_THROW(method_of("two_phase(context=knorm,decode=oracle)"), UserError);
}

}  // namespace
}  // namespace kvlab
