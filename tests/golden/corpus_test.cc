// The built-in corpus and the default model, against tests/goldens/corpus.json. Needs nothing but the default
// model.
#include "golden/golden_support.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

nlohmann::json corpus_golden() {
  return read_json(KVLAB_SOURCE_DIR "/tests/goldens/corpus.json").at("documents");
}

// The corpus as it lies in the source tree, one document a line.
std::vector<nlohmann::json> corpus_documents() {
  std::istringstream lines(read_text(KVLAB_SOURCE_DIR "/data/corpus/corpus.jsonl"));
  std::vector<nlohmann::json> documents;
  for (std::string line; std::getline(lines, line);) documents.push_back(nlohmann::json::parse(line));
  return documents;
}

std::vector<int32_t> golden_tokens(const nlohmann::json& document) {
  return document.at("tokens").get<std::vector<int32_t>>();
}

TEST(CorpusGolden, TokensAreTheRecordedOnes) {
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = corpus_golden();
  const auto documents = corpus_documents();
  const auto tokenizer = open_tokenizer(default_model_path());
  ASSERT_EQ(documents.size(), golden.size());
  for (size_t d = 0; d < documents.size(); ++d) {
    SCOPED_TRACE(golden[d].at("id").get<std::string>());
    EXPECT_EQ(documents[d].at("id"), golden[d].at("id"));
    auto ids = tokenizer->encode(documents[d].at("text").get<std::string>());
    EXPECT_EQ(ids.size(), golden[d].at("text_tokens").get<size_t>());
    const auto expected = golden_tokens(golden[d]);
    ids.insert(ids.begin(), tokenizer->bos());
    ASSERT_GE(ids.size(), expected.size());
    ids.resize(expected.size());
    EXPECT_EQ(ids, expected);
  }
}

TEST(CorpusGolden, BaselinesOfAllDocuments) {
  KVLAB_SKIP_UNDER_SANITIZERS("six runs of the default model");
  KVLAB_NEED_FILE(default_model_path());
  const auto model = open_and_load(default_model_path(), DType::kF32);
  for (const auto& document : corpus_golden()) {
    const StreamRun run = run_stream(model, no_compression(), golden_tokens(document), DType::kF32);
    const auto id = document.at("id").get<std::string>();
    EXPECT_EQ(run.nll.size(), document.at("baseline").at("nll").size()) << id;
    expect_baseline(run, document.at("baseline"), id);
    EXPECT_NEAR(run.ppl() / document.at("baseline").at("ppl").get<double>(), 1, 1e-4) << id;
  }
}

// Some 1500 tokens: positions beyond the 320 whose losses are recorded.
TEST(CorpusGolden, WholeTextOfOneDocument) {
  KVLAB_SKIP_UNDER_SANITIZERS("1439 tokens of the default model");
  KVLAB_NEED_FILE(default_model_path());
  const auto golden = corpus_golden().at(0).at("baseline_whole_text");
  const auto tokenizer = open_tokenizer(default_model_path());
  auto ids = tokenizer->encode(corpus_documents().at(0).at("text").get<std::string>());
  ids.insert(ids.begin(), tokenizer->bos());
  const StreamRun run =
      run_stream(open_and_load(default_model_path(), DType::kF32), no_compression(), ids, DType::kF32);
  EXPECT_EQ(run.nll.size(), golden.at("predicted").get<size_t>());
  EXPECT_NEAR(run.ppl() / golden.at("ppl").get<double>(), 1, 1e-4);
}

class CorpusStream : public ::testing::TestWithParam<int> {};

TEST_P(CorpusStream, InF32) {
  KVLAB_SKIP_UNDER_SANITIZERS("seven runs of the default model");
  KVLAB_NEED_FILE(default_model_path());
  const auto document = corpus_golden().at(GetParam());
  check_stream_section(open_and_load(default_model_path(), DType::kF32), document.at("stream"),
                       golden_tokens(document), {});
}

INSTANTIATE_TEST_SUITE_P(Documents, CorpusStream, ::testing::Values(0, 2, 4));

// The one golden of the default model that the sanitizer build runs too: through GGUF, tokens, attention
// weights and evictions, in a run as short as can evict.
TEST(CorpusGolden, ShortRunWithEvictions) {
  KVLAB_NEED_FILE(default_model_path());
  const auto document = corpus_golden().at(0);
  const std::string recipe = "h2o(size=96,sinks=0,window=48)";
  ASSERT_TRUE(registered(recipe));
  auto tokens = golden_tokens(document);
  tokens.resize(128);
  const StreamRun run = run_stream(open_and_load(default_model_path(), DType::kF32),
                                   resolve_recipe(recipe, {}), tokens, DType::kF32);
  const LossDistance distance = loss_distance(run.nll, document.at("stream").at(recipe).at("nll"));
  EXPECT_LE(distance.mean, 1e-4);
  EXPECT_LE(distance.most, 2e-3);
  EXPECT_EQ(run.evicted, 0.25);  // 96 of 128 entries are left
}

}  // namespace
}  // namespace kvlab
