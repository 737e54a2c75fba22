// random_validation evicts everything that is not protected, so it must keep what streaming_llm keeps: 132 of
// 1024 tokens with 4 sinks and a window of 128, none of the 892 compressible ones.
#include "evals/compare.h"
#include "golden/golden_support.h"
#include "results/summary.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

class StreamingValidation : public ::testing::Test {
 protected:
  void SetUp() override {
    TinyModelOptions tiny;
    tiny.context = 2048;
    const auto model =
        open_and_load(write_tiny_gguf(tiny, folder_.path() / "tiny.gguf").string(), DType::kF32);
    TokenDocument document;
    document.id = "counted";
    for (int t = 0; t < 1024; ++t) document.tokens.push_back(t * 7 % tiny.vocab);
    document.scored.assign(1024, 1);
    document.scored[0] = 0;
    CompareOptions options;
    options.record_first = true;
    comparison_ = compare(
        model,
        {resolve_recipe("streaming_llm(sinks=4,window=128)", {}), resolve_recipe("random_validation", {})},
        {document}, options, silent_progress(), [](const auto&) {});
    ASSERT_EQ(comparison_.result.methods.size(), 4u);  // after the baseline and the noise floor
    ASSERT_EQ(comparison_.kept.size(), 2u);
  }

  OneThread one_thread_;
  testing::TempFolder folder_;
  Comparison comparison_;
};

TEST_F(StreamingValidation, CountsAreThoseOfTheDensityNote) {
  for (const size_t row : {2, 3}) {
    const MethodResult& method = comparison_.result.methods[row];
    SCOPED_TRACE(method.name);
    ASSERT_EQ(method.documents.size(), 1u);
    const DocumentResult& document = method.documents[0];
    const int64_t pairs = document.overall.all / 1024;  // layers × KV heads
    EXPECT_EQ(document.overall.kept, 132 * pairs);
    EXPECT_EQ(document.outside_window.kept, 4 * pairs);
    EXPECT_EQ(document.outside_window.all, 896 * pairs);
    EXPECT_EQ(document.compressible.kept, 0);
    EXPECT_EQ(document.compressible.all, 892 * pairs);
  }
}

TEST_F(StreamingValidation, LifetimesAndLossesAreTheSame) {
  EXPECT_EQ(comparison_.kept[0].lifetimes.evict_at, comparison_.kept[1].lifetimes.evict_at);
  const auto& methods = comparison_.result.methods;
  EXPECT_EQ(methods[2].documents[0].nll_sum, methods[3].documents[0].nll_sum);
  EXPECT_EQ(methods[2].documents[0].seen_visible, methods[3].documents[0].seen_visible);
  EXPECT_GT(methods[2].documents[0].kl_sum, 0);
}

}  // namespace
}  // namespace kvlab
