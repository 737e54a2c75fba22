// Random eviction on WikiText-2: losing the first tokens hurts, and acting once per 128 tokens is like a
// larger window.
#include <fmt/format.h>

#include <cmath>

#include "golden/golden_support.h"
#include "kernels/gemm.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

constexpr int kSeeds = 5;
constexpr size_t kTokens = 1024;

// The default model on the first tokens of WikiText-2, bf16 where the processor has it since only means are
// looked at.
class RandomOnWikiText : public ::testing::Test {
 protected:
  void SetUp() override {
    KVLAB_SKIP_UNDER_SANITIZERS("sixteen runs of 1024 tokens of the default model");
    const std::string text = shared_path("data/wikitext2/wiki.test.raw");
    KVLAB_NEED_FILE(text);
    KVLAB_NEED_FILE(default_model_path());
    type_ = cpu_has_bf16_dot() ? DType::kBF16 : DType::kF32;
    model_ = open_and_load(default_model_path(), type_);
    const auto tokenizer = open_tokenizer(default_model_path());
    tokens_ = tokenizer->encode(read_text(text).substr(0, 16 * kTokens));
    tokens_.insert(tokens_.begin(), tokenizer->bos());
    ASSERT_GE(tokens_.size(), kTokens);
    tokens_.resize(kTokens);
  }

  double nll(const std::string& recipe, int seed) const {
    RecipeDefaults defaults;
    defaults.seed = static_cast<uint64_t>(seed);
    return run_stream(model_, resolve_recipe(recipe, defaults), tokens_, type_).mean_nll();
  }

  DType type_ = DType::kF32;
  std::shared_ptr<const Model> model_;
  std::vector<int32_t> tokens_;
};

TEST_F(RandomOnWikiText, HurtsWithoutProtection) {
  const double baseline = nll("none", 0);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const double delta = nll("random(threshold=0.5,sinks=0,window=0)", seed) - baseline;
    fmt::print("  seed {}: {:+.4f} nats\n", seed, delta);
    EXPECT_GT(delta, 0.2) << "seed " << seed;
  }
}

// An entry that is eligible after 128 tokens waits 64 more on average when the budget acts every 128.
TEST_F(RandomOnWikiText, ActingEvery128IsLikeAWindow64Larger) {
  double sum = 0, squares = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const double difference = nll("random(threshold=0.5,sinks=4,window=128,every=128)", seed) -
                              nll("random(threshold=0.5,sinks=4,window=192,every=1)", seed);
    fmt::print("  seed {}: {:+.5f} nats\n", seed, difference);
    sum += difference;
    squares += difference * difference;
  }
  const double mean = sum / kSeeds;
  const double error = std::sqrt((squares / kSeeds - mean * mean) / (kSeeds - 1));
  fmt::print("  mean {:+.5f}, standard error {:.5f}\n", mean, error);
  EXPECT_LE(std::fabs(mean), 2 * error);
}

}  // namespace
}  // namespace kvlab
