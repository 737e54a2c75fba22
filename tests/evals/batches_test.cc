// Documents run together against each of them alone, and how documents are put together.
#include "evals/batches.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "contract/harness.h"
#include "evals/compare.h"
#include "format/safetensors.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::method_of;
using ::testing::Not;
using testing::random_tokens;
using testing::tiny_model;

class BatchesTest : public testing::OneThread {};

// Lengths that are no multiples of the blocks that rows are cut into, one of them tiny.
std::vector<TokenDocument> documents(const std::vector<int>& lengths) {
  std::vector<TokenDocument> list;
  for (size_t d = 0; d < lengths.size(); ++d) {
    TokenDocument document;
    document.index = static_cast<int64_t>(d) + 5;
    document.id = fmt::format("doc {}", d);
    document.tokens = random_tokens(lengths[d], 70 + d);
    document.scored.assign(lengths[d], 1);
    document.scored[0] = document.scored[lengths[d] / 2] = 0;
    list.push_back(std::move(document));
  }
  return list;
}

std::vector<const TokenDocument*> pointers(const std::vector<TokenDocument>& list) {
  std::vector<const TokenDocument*> all;
  for (const TokenDocument& document : list) all.push_back(&document);
  return all;
}

void expect_same_losses(const std::vector<float>& together, const std::vector<float>& alone) {
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i) ASSERT_NEAR(together[i], alone[i], 1e-5) << i;
}

void expect_same(const DocumentRun& together, const DocumentRun& alone) {
  const DocumentResult &a = together.result, &b = alone.result;
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(together.queries, alone.queries);
  EXPECT_EQ(together.touched, alone.touched);
  EXPECT_EQ(together.live, alone.live);
  expect_same_losses(together.nll, alone.nll);
  EXPECT_EQ(a.overall.kept, b.overall.kept);
  EXPECT_EQ(a.compressible.kept, b.compressible.kept);
  EXPECT_EQ(a.outside_effective_window.kept, b.outside_effective_window.kept);
  EXPECT_EQ(a.seen_visible, b.seen_visible);
  EXPECT_EQ(a.kv_bytes, b.kv_bytes);
  EXPECT_EQ(a.kv_bytes_baseline, b.kv_bytes_baseline);
  EXPECT_EQ(a.breakdown.slack, b.breakdown.slack);
  EXPECT_EQ(a.breakdown.scores, b.breakdown.scores);
  EXPECT_EQ(a.evictions, b.evictions);
  EXPECT_EQ(a.forced_evictions, b.forced_evictions);
  EXPECT_EQ(a.block_tokens, b.block_tokens);
  EXPECT_NEAR(a.nll_sum, b.nll_sum, 1e-5 * static_cast<double>(alone.nll.size()));
}

void expect_same_as_alone(const std::string& recipe, const RunOptions& options,
                          const std::vector<int>& lengths) {
  SCOPED_TRACE(recipe);
  const std::vector<TokenDocument> list = documents(lengths);
  const auto method = method_of(recipe);
  const std::vector<DocumentRun> together = run_documents(tiny_model(), method, pointers(list), options);
  ASSERT_EQ(together.size(), list.size());
  for (size_t d = 0; d < list.size(); ++d) {
    SCOPED_TRACE(list[d].id);
    expect_same(together[d], run_document(tiny_model(), method, list[d], options));
  }
}

const std::vector<std::string> kRecipes = {"none",
                                           "streaming_llm(size=24,sinks=4)",
                                           "knorm(keep=0.4,sinks=2,window=8)",
                                           "knorm(threshold=-4,window=8)",
                                           "h2o(size=20,window=8)",
                                           "observed_attention(keep=0.5,window=4)",
                                           "tova(keep=0.5)",
                                           "snapkv(keep=0.5,every=16,window=8)",
                                           "expected_attention(keep=0.5,every=16,window=8)",
                                           "random(keep=0.5,seed=3,window=4)",
                                           "oracle(keep=0.5)"};

TEST_F(BatchesTest, DocumentsTogetherEqualEachAlone) {
  for (const std::string& recipe : kRecipes) expect_same_as_alone(recipe, {}, {90, 3, 131, 40, 64});
}

TEST_F(BatchesTest, UnderAPrefix) {
  RunOptions options;
  options.protocol = {Protocol::Kind::kPrefix, 50};
  std::vector<std::string> recipes = kRecipes;
  recipes.insert(
      recipes.end(),
      {"knorm(keep=0.5,at=context)", "snapkv(keep=0.5,window=8,at=context)", "oracle(keep=0.5,at=context)",
       "two_phase(context=knorm(keep=0.5),decode=h2o(size=30,window=8))",
       "two_phase(context=snapkv(keep=0.5,window=8),decode=knorm(size=30,window=8))"});
  for (const std::string& recipe : recipes) expect_same_as_alone(recipe, options, {52, 110, 75});
}

TEST_F(BatchesTest, InStepsOfSomeTokens) {
  RunOptions options;
  options.extend_size = 17;
  for (const std::string& recipe : kRecipes) expect_same_as_alone(recipe, options, {60, 10, 34});
  options.protocol = {Protocol::Kind::kPrefix, 20};
  for (const char* recipe : {"none", "snapkv(keep=0.5,window=8,at=context)"})
    expect_same_as_alone(recipe, options, {60, 22, 34});
}

TEST_F(BatchesTest, WithMoreTokensThanOneForwardTakes) {
  expect_same_as_alone("knorm(size=40,window=8)", {}, {1500, 900, 30});
}

TEST_F(BatchesTest, TimesAreSharesByTokens) {
  const std::vector<TokenDocument> list = documents({60, 120});
  RunOptions options;
  const auto runs = run_documents(tiny_model(), method_of("h2o(size=20,window=8)"), pointers(list), options);
  EXPECT_GT(runs[0].result.seconds, 0);
  EXPECT_DOUBLE_EQ(runs[1].result.seconds, 2 * runs[0].result.seconds);
  EXPECT_DOUBLE_EQ(runs[1].result.cpu_seconds, 2 * runs[0].result.cpu_seconds);
  EXPECT_DOUBLE_EQ(runs[1].prefill_seconds, 2 * runs[0].prefill_seconds);
  EXPECT_LE(runs[0].prefill_seconds, runs[0].result.seconds);
}

TEST_F(BatchesTest, LifetimesAreRecordedOfTheFirstDocument) {
  const std::vector<TokenDocument> list = documents({60, 50});
  RunOptions options;
  options.record_lifetimes = true;
  const auto method = method_of("knorm(keep=0.5,window=4)");
  const auto runs = run_documents(tiny_model(), method, pointers(list), options);
  EXPECT_EQ(runs[0].lifetimes.evict_at,
            run_document(tiny_model(), method, list[0], options).lifetimes.evict_at);
  EXPECT_FALSE(runs[0].lifetimes.evict_at.empty());
  EXPECT_TRUE(runs[1].lifetimes.evict_at.empty());
}

// A comparison with each document alone, as too little memory has it, and with documents together.
ComparisonResult compare_with(int64_t memory, const std::vector<std::string>& recipes,
                              const std::vector<TokenDocument>& list, int& batches,
                              CompareOptions options = {}) {
  std::vector<MethodSpec> specs;
  for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, {}));
  options.memory = memory;
  options.token_nll = true;
  batches = 0;
  return compare(tiny_model(), specs, list, options, silent_progress(), [&](const auto&) { ++batches; })
      .result;
}

std::vector<const MethodResult*> runs_of(const ComparisonResult& result) {
  std::vector<const MethodResult*> runs;
  for (const MethodResult& row : result.methods) {
    if (row.seed_results.empty()) runs.push_back(&row);
    for (const MethodResult& run : row.seed_results) runs.push_back(&run);
  }
  return runs;
}

void expect_same_comparison(const ComparisonResult& a, const ComparisonResult& b) {
  const auto together = runs_of(a), alone = runs_of(b);
  ASSERT_EQ(together.size(), alone.size());
  for (size_t r = 0; r < alone.size(); ++r) {
    SCOPED_TRACE(alone[r]->name);
    EXPECT_EQ(together[r]->status, alone[r]->status) << together[r]->reason << alone[r]->reason;
    EXPECT_EQ(together[r]->reason, alone[r]->reason);
    ASSERT_EQ(together[r]->documents.size(), alone[r]->documents.size());
    for (size_t d = 0; d < alone[r]->documents.size(); ++d) {
      const DocumentResult &one = together[r]->documents[d], &other = alone[r]->documents[d];
      SCOPED_TRACE(other.id);
      EXPECT_EQ(one.id, other.id);
      expect_same_losses(*one.token_nll, *other.token_nll);
      EXPECT_NEAR(one.delta_nll_sum, other.delta_nll_sum, 1e-3);
      EXPECT_NEAR(one.kl_sum, other.kl_sum, 1e-3);
      EXPECT_EQ(one.top1_agree, other.top1_agree);
      EXPECT_EQ(one.overall.kept, other.overall.kept);
      EXPECT_EQ(one.tokens_long_range, other.tokens_long_range);
    }
  }
  ASSERT_EQ(a.long_range.has_value(), b.long_range.has_value());
  if (!a.long_range) return;
  EXPECT_EQ(a.long_range->tokens_chosen, b.long_range->tokens_chosen);
}

TEST_F(BatchesTest, AComparisonIsTheSame) {
  const std::vector<TokenDocument> list = documents({150, 90, 200, 136});
  const std::vector<std::string> recipes = {"knorm(keep=0.3,window=8)", "random(keep=0.5)",
                                            "oracle(keep=0.5)", "h2o(size=30,window=8)",
                                            "streaming_llm(size=40)"};
  int batches = 0;
  const ComparisonResult together = compare_with(kDefaultMemory, recipes, list, batches);
  EXPECT_EQ(batches, 1);
  const ComparisonResult alone = compare_with(1, recipes, list, batches);
  EXPECT_EQ(batches, 4);
  expect_same_comparison(together, alone);
  EXPECT_GT(together.long_range->tokens_chosen, 0);
  EXPECT_EQ(runs_of(together)[0]->documents[1].top1_agree, runs_of(together)[0]->documents[1].tokens_scored);
}

TEST_F(BatchesTest, TheRowThatIsTheControlChoosesTheLongRangeTokens) {
  const std::vector<TokenDocument> list = documents({150, 200});
  int batches = 0;
  const std::vector<std::string> with = {"streaming_llm(sinks=4,window=128)", "knorm(keep=0.5,window=8)"};
  const ComparisonResult a = compare_with(kDefaultMemory, with, list, batches);
  const ComparisonResult b = compare_with(kDefaultMemory, {with[1]}, list, batches);
  EXPECT_EQ(a.long_range->tokens_chosen, b.long_range->tokens_chosen);
}

// Scores for so many tokens of each document, all of them 0.
std::string scores_file(const TempFolder& folder, const std::vector<TokenDocument>& list,
                        const std::vector<int>& tokens) {
  const ModelShape shape = testing::tiny_shape();
  std::vector<NamedTensor> tensors;
  for (size_t d = 0; d < tokens.size(); ++d) {
    const std::vector<float> zeros(static_cast<size_t>(shape.layers) * shape.kv_heads * tokens[d]);
    tensors.push_back(
        {fmt::format("scores.{}", list[d].index), {shape.layers, shape.kv_heads, tokens[d]}, zeros});
  }
  const std::string path = (folder.path() / "scores.safetensors").string();
  write_safetensors(path, tensors);
  return path;
}

TEST_F(BatchesTest, ARowThatFailsOnADocumentKeepsThoseBeforeIt) {
  const TempFolder folder;
  const std::vector<TokenDocument> list = documents({40, 50, 60, 45});
  const std::string short_of_one = scores_file(folder, list, {40, 50, 30, 45});
  int batches = 0;
  const ComparisonResult result = compare_with(
      kDefaultMemory, {"external(scores=\"" + short_of_one + "\",keep=0.5)", "knorm(keep=0.5,window=8)"},
      list, batches);
  EXPECT_EQ(batches, 1);
  const MethodResult &failed = result.methods[2], &fine = result.methods[3];
  EXPECT_EQ(failed.status, Status::kFailed);
  EXPECT_THAT(failed.reason, HasSubstr("document 'doc 2'"));
  ASSERT_EQ(failed.documents.size(), 2u);
  EXPECT_EQ(failed.documents[1].id, "doc 1");
  EXPECT_EQ(fine.status, Status::kOk);
  EXPECT_EQ(fine.documents.size(), 4u);
}

std::vector<std::vector<int64_t>> lengths_of(const std::vector<Batch>& batches) {
  std::vector<std::vector<int64_t>> all;
  for (const Batch& batch : batches) {
    all.emplace_back();
    for (const TokenDocument* document : batch)
      all.back().push_back(static_cast<int64_t>(document->tokens.size()));
  }
  return all;
}

TEST_F(BatchesTest, ABatchHasAsManyTokensAsOneForward) {
  const ModelConfig& config = tiny_model()->config();
  const auto list = documents({1000, 1048, 1, 2047, 2, 3000, 5, 6});
  EXPECT_THAT(lengths_of(cut_batches(list, config, {}, kDefaultMemory)),
              ElementsAre(ElementsAre(1000, 1048), ElementsAre(1, 2047), ElementsAre(2), ElementsAre(3000),
                          ElementsAre(5, 6)));
}

TEST_F(BatchesTest, ABatchStaysUnderTheMemoryUnlessOneDocumentDoesNot) {
  const ModelConfig& config = tiny_model()->config();
  const auto list = documents({100, 100, 100, 100, 300, 20, 20});
  for (const bool hindsight : {false, true}) {
    MemoryNeeds needs;
    needs.hindsight = hindsight;
    const int64_t two = estimate_memory(config, needs, 2, 200, 100);
    EXPECT_THAT(
        lengths_of(cut_batches(list, config, needs, two)),
        ElementsAre(ElementsAre(100, 100), ElementsAre(100, 100), ElementsAre(300), ElementsAre(20, 20)));
    EXPECT_EQ(lengths_of(cut_batches(list, config, needs, two - 1)).size(), 6u);
  }
}

TEST_F(BatchesTest, TheEstimateKnowsWhatMethodsRemember) {
  const ModelConfig& config = tiny_model()->config();
  const auto needs = [](const std::vector<std::string>& recipes) {
    std::vector<std::shared_ptr<const Method>> methods;
    for (const std::string& recipe : recipes) methods.push_back(method_of(recipe));
    return memory_needs(methods, DType::kBF16);
  };
  EXPECT_EQ(needs({"none", "knorm(keep=0.5)"}).query_bytes, 0);
  EXPECT_EQ(needs({"none", "knorm(keep=0.5)"}).kv_type, DType::kBF16);
  EXPECT_EQ(needs({"none+f32", "knorm(keep=0.5)"}).kv_type, DType::kF32);
  EXPECT_TRUE(needs({"oracle(keep=0.5)"}).hindsight);
  EXPECT_FALSE(needs({"knorm(keep=0.5)"}).hindsight);
  const MemoryNeeds expected = needs({"knorm(keep=0.5)", "expected_attention(keep=0.5)"});
  const auto run = run_document(tiny_model(), method_of("expected_attention(keep=0.5,every=8,window=4)"),
                                documents({40})[0], {});
  // What a session really holds of queries is no more than what was estimated.
  EXPECT_GT(expected.query_bytes, 0);
  EXPECT_LE(run.result.breakdown.scores, expected.query_bytes + 40 * config.layers * config.kv_heads * 4);
  const MemoryNeeds f32 = needs({"none+f32"}), bf16 = needs({"none"});
  EXPECT_EQ(estimate_memory(config, f32, 1, 100, 100) - estimate_memory(config, bf16, 1, 100, 100),
            100 * 2 * config.layers * config.kv_heads * config.head_dim * 2);
}

std::string memory_error(const std::vector<TokenDocument>& list, int64_t memory, int64_t context) {
  try {
    check_memory(list, tiny_model()->config(), {}, memory, context);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST_F(BatchesTest, ADocumentThatNeedsMoreThanWasGivenIsRefused) {
  const ModelConfig& config = tiny_model()->config();
  const auto list = documents({100, 400, 90});
  const int64_t enough = estimate_memory(config, {}, 1, 400, 400),
                less = estimate_memory(config, {}, 1, 250, 250);
  EXPECT_EQ(memory_error(list, enough, 0), "");
  EXPECT_THAT(memory_error(list, enough - 1, 0),
              AllOf(HasSubstr("doc 1"), HasSubstr("400 tokens"), HasSubstr("--max_length 399"),
                    HasSubstr("--memory ")));
  EXPECT_THAT(memory_error(list, less, 0), HasSubstr("--max_length 250"));
  EXPECT_THAT(memory_error(list, less, 249), HasSubstr("--max_length 250"));
  EXPECT_THAT(memory_error(list, less, 250), AllOf(Not(HasSubstr("--max_length")), HasSubstr("--memory ")));
  EXPECT_THAT(memory_error(list, 1, 0), AllOf(HasSubstr("doc 0"), Not(HasSubstr("--max_length"))));
}

}  // namespace
}  // namespace kvlab
