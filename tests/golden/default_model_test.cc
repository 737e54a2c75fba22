// The default model on WikiText-2 and on a novel, against transformers and kvpress.
#include "golden/golden_support.h"
#include "kernels/gemm.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

class SharedGolden : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path() const { return shared_path(std::string("goldens/") + GetParam() + ".json"); }
};

TEST_P(SharedGolden, BaselineInF32) {
  KVLAB_SKIP_UNDER_SANITIZERS("512 tokens of the default model");
  KVLAB_NEED_FILE(path());
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = read_json(path());
  const auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  const StreamRun run =
      run_stream(open_and_load(default_model_path(), DType::kF32), no_compression(), tokens, DType::kF32);
  EXPECT_EQ(run.nll.size(), golden.at("baseline").at("nll").size());
  expect_baseline(run, golden.at("baseline"), GetParam());
  EXPECT_EQ(run.evicted, 0);
  EXPECT_EQ(run.seen, 1);
}

TEST_P(SharedGolden, BaselineInBf16) {
  KVLAB_SKIP_UNDER_SANITIZERS("512 tokens of the default model");
  KVLAB_NEED_FILE(path());
  KVLAB_NEED_FILE(default_model_path());
  if (!cpu_has_bf16_dot()) GTEST_SKIP() << "this processor has no bf16 dot products";
  const auto golden = read_json(path());
  const auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  const StreamRun run =
      run_stream(open_and_load(default_model_path(), DType::kBF16), no_compression(), tokens, DType::kBF16);
  const double expected = golden.at("baseline").at("ppl").get<double>();
  EXPECT_NEAR(run.ppl(), expected, 0.003 * expected);
}

TEST_P(SharedGolden, StreamInF32) {
  KVLAB_SKIP_UNDER_SANITIZERS("384 tokens of the default model under a dozen recipes");
  const std::string scorer = shared_path("models/kvzap-linear-smollm2-135m");
  KVLAB_NEED_FILE(path());
  KVLAB_NEED_FILE(scorer);
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = read_json(path());
  auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  tokens.resize(golden.at("context").get<size_t>());
  RecipeDefaults defaults;
  defaults.scorer_model = scorer;
  check_stream_section(open_and_load(default_model_path(), DType::kF32), golden.at("stream"), tokens,
                       defaults);
}

INSTANTIATE_TEST_SUITE_P(Texts, SharedGolden, ::testing::Values("wikitext2", "katrine"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvlab
