// Prefills of random models: what is counted, and what is refused.
#include "evals/prefill_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/threads.h"
#include "cache/recipe.h"
#include "engine/session.h"
#include "models/model_shapes.h"
#include "models/random_model.h"
#include "models/readers.h"
#include "results/bench_figures.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ModelFiles small_model(int layers = 2) {
  ModelConfig config = config_of_json(
      R"({"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96,
          "max_position_embeddings": 512})",
      "test");
  config.name = "small";
  return random_model(first_layers(std::move(config), layers), 1);
}

std::vector<std::shared_ptr<const Method>> methods_of(const std::string& recipes, const ModelFiles& files) {
  std::vector<std::shared_ptr<const Method>> methods;
  for (const std::string& recipe : split_recipes(recipes))
    methods.push_back(make_method(resolve_recipe(recipe, {}), shape_of(files.config)));
  return methods;
}

BenchOptions small_options(std::vector<int64_t> lengths) {
  BenchOptions options;
  options.lengths = std::move(lengths);
  options.layers = 4;
  options.memory = int64_t{1} << 40;
  return options;
}

BenchResult bench(const std::string& recipes, const BenchOptions& options,
                  Progress& progress = silent_progress()) {
  const ModelFiles files = small_model();
  return bench_prefills(files, methods_of(recipes, files), options, progress);
}

TEST(PrefillBench, EveryMethodAtEveryLength) {
  const BenchResult result = bench("none streaming_llm(size=16)", small_options({24, 100}));
  ASSERT_EQ(result.rows.size(), 4u);
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.rows[1].method, "StreamingLLM(size=16)");
  EXPECT_EQ(result.rows[1].tokens, 24);
  EXPECT_EQ(result.rows[2].recipe, "none");
  EXPECT_EQ(result.rows[2].tokens, 100);
  EXPECT_GT(result.rows[2].timing.wall, 0);
  // What a method evicts is not in memory.
  EXPECT_LT(result.rows[3].cache_end, result.rows[2].cache_end / 2);
  EXPECT_GE(result.rows[3].cache_peak, result.rows[3].cache_end);
}

TEST(PrefillBench, CacheBytesAreThoseOfASession) {
  const ModelFiles files = small_model();
  const auto methods = methods_of("none", files);
  const BenchResult result = bench_prefills(files, methods, small_options({64}), silent_progress());
  EXPECT_GE(result.rows[0].cache_end, dense_cache_bytes(shape_of(files.config), 64, DType::kF32));
  Session session(load_model(files, {DType::kF32}), methods[0], {});
  session.extend(std::vector<int32_t>(64, 1));
  EXPECT_EQ(result.rows[0].cache_end, session.cache().bytes().total());
}

TEST(PrefillBench, WeightBytesAreThoseAllocated) {
  const ModelFiles files = small_model();
  const BenchResult result = bench("none", small_options({16}));
  const int64_t before = allocated_bytes(Account::kWeights);
  const auto model = load_model(files, {DType::kF32});
  EXPECT_EQ(allocated_bytes(Account::kWeights) - before,
            2 * result.model.layer_bytes + result.model.head_bytes);
  EXPECT_EQ(result.model.embedding_bytes, 2 * 96 * 64);
  EXPECT_EQ(result.model.layers, 4);
  EXPECT_EQ(result.model.layers_run, 2);
}

TEST(PrefillBench, ProductsAloneAreThoseOfALayerAndTheHead) {
  const BenchResult result = bench("none", small_options({100}));
  EXPECT_EQ(result.products.rows, 128);  // whole blocks
  EXPECT_EQ(result.products.flops, 128 * result.model.layer_flops);
  EXPECT_GT(result.products.timing.wall, 0);
  EXPECT_EQ(result.head.rows, 64 * thread_count());
  EXPECT_EQ(result.head.flops, static_cast<double>(result.head.rows) * 2 * 96 * 64);
}

TEST(PrefillBench, RecipesThatActAtTheEndOfTheContextDo) {
  const BenchResult result = bench("none knorm(size=48,at=context)", small_options({200}));
  EXPECT_LT(result.rows[1].cache_end, result.rows[0].cache_end / 2);
  EXPECT_GE(result.rows[1].cache_peak, result.rows[0].cache_end);
}

TEST(PrefillBench, LayersWithDifferentWindowsAreNotAlike) {
  ModelFiles files = small_model();
  EXPECT_TRUE(bench_prefills(files, methods_of("none", files), small_options({8}), silent_progress())
                  .model.layers_alike);
  files.config.windows = {4, 0};
  EXPECT_FALSE(bench_prefills(files, methods_of("none", files), small_options({8}), silent_progress())
                   .model.layers_alike);
}

// Asks to stop when a given piece of work begins.
class StopAt : public Progress {
 public:
  explicit StopAt(std::string what) : what_(std::move(what)) {}
  void begin(const std::string& what, int64_t /*total*/) override {
    if (what == what_) request_stop();
  }
  void step(int64_t /*done*/, const std::string& /*note*/) override {}
  void end() override {}

 private:
  std::string what_;
};

TEST(PrefillBench, StoppingKeepsTheMethodsThatAreFinished) {
  StopAt progress("H2O(size=32), 40 tokens");
  const BenchResult result = bench("none h2o(size=32) knorm(size=32)", small_options({40}), progress);
  clear_stop();
  EXPECT_TRUE(result.interrupted);
  ASSERT_EQ(result.rows.size(), 1u);
  EXPECT_EQ(result.rows[0].recipe, "none");
}

TEST(PrefillBench, WeightsBeyondTheMemoryAreRefusedBeforeAnyWork) {
  BenchOptions options = small_options({16});
  options.memory = 200000;
  const BenchResult fits = bench("none", small_options({16}));
  options.memory = fits.model.head_bytes + fits.model.layer_bytes;
  try {
    bench("none", options);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("2 layers of small"), HasSubstr("--layers 1"), HasSubstr("or --memory ")));
  }
  options.memory = 1;
  try {
    bench("none", options);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("--layers")));
  }
}

TEST(PrefillBench, PlannedMethodsAreRefused) {
  try {
    bench("none oracle(keep=0.5)", small_options({16}));
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("oracle"), HasSubstr("beforehand")));
  }
}

}  // namespace
}  // namespace kvlab
