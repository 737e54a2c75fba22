// The trainers of queries on a tiny model: what they write is what scorers read, and fits the text.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/session.h"
#include "format/json_reader.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"
#include "format/trained_on.h"
#include "support/tiny_model.h"
#include "train/passages.h"
#include "train/query_moments.h"
#include "train/trainer.h"

namespace kvlab {
namespace {

const TrainerInfo& trainer(const std::string& name) {
  for (const TrainerInfo* info : registry_trainers()) {
    if (info->name == name) return *info;
  }
  throw std::runtime_error("no trainer " + name);
}

class QueryTrainers : public ::testing::Test {
 protected:
  testing::TempFolder folder_;
  std::shared_ptr<const Model> model_ = make_model();
  ModelShape shape_ = shape_of(model_->config());

  // As many KV heads as query heads: a filter is then a head's own direction.
  std::shared_ptr<const Model> make_model() const {
    testing::TinyModelOptions options;
    options.kv_heads = options.query_heads;
    return load_model(open_model(testing::write_tiny_hf(options, folder_.path() / "model").string()),
                      {DType::kF32});
  }
  TrainContext context(const TrainerInfo& info, int tokens) const {
    TrainContext context;
    context.model = model_;
    context.texts = {{"somewhere/text.txt", {}}};
    for (int i = 0; i < tokens; ++i)
      context.texts[0].tokens.push_back((i * i + 7 * i) % model_->config().vocab);
    context.output = folder_.path();
    context.provenance = {{"model", "tiny"}};
    context.values = Values(info.fields);
    context.values.set("passages", int64_t{3});
    context.values.set("passage_tokens", int64_t{40});
    return context;
  }
  TrainReport run(const std::string& name, int tokens = 300) const {
    return trainer(name).run(context(trainer(name), tokens));
  }
  std::string folder() const { return folder_.path().string(); }
  std::vector<float> read(const std::string& tensor, const std::vector<int64_t>& shape) const {
    return open_safetensors(folder())->read(tensor, shape);
  }
  // Of the passages that a trainer draws from the text.
  std::shared_ptr<QueryMoments> moments(QueryMoments::Form form, int64_t skipped) const {
    const TrainContext all = context(trainer("qfilter"), 300);
    const auto moments = std::make_shared<QueryMoments>(shape_, form, skipped);
    CacheOptions options;
    options.tap = moments;
    for (const Passage& passage : draw_passages(cut_passages(all.texts, 40, all.seed), 3, all.seed + 1)) {
      const std::span<const int32_t> tokens(all.texts[0].tokens);
      Session(model_, make_method(no_compression(), shape_), options)
          .extend(tokens.subspan(static_cast<size_t>(passage.first), passage.length));
    }
    return moments;
  }
};

TEST_F(QueryTrainers, FiltersAreUnitVectorsAgainstTheMeanQuery) {
  EXPECT_TRUE(run("qfilter").finished);
  const std::vector<float> filters = read("q_filters", {shape_.layers, shape_.kv_heads, shape_.head_dim});
  const auto seen = moments(QueryMoments::Form::kRotated, 0);
  for (int i = 0; i < shape_.layers * shape_.kv_heads; ++i) {
    const float* filter = filters.data() + i * shape_.head_dim;
    double square = 0, projection = 0;
    for (int c = 0; c < shape_.head_dim; ++c) {
      square += static_cast<double>(filter[c]) * filter[c];
      projection += filter[c] * seen->sum(i / shape_.kv_heads, i % shape_.kv_heads)[c];
    }
    EXPECT_NEAR(square, 1, 1e-5);
    EXPECT_LT(projection, 0);
  }
  const std::string recipe = "qfilter(keep=0.5,model=\"" + folder() + "\")";
  EXPECT_NO_THROW(make_method(resolve_recipe(recipe, {}), shape_));
}

TEST_F(QueryTrainers, StatisticsAreMeansAndCovariances) {
  EXPECT_TRUE(run("expected_attention").finished);
  const int64_t d = shape_.head_dim;
  const auto mean = read("query_mean", {shape_.layers, shape_.query_heads, d}),
             covariance = read("query_cov", {shape_.layers, shape_.query_heads, d, d});
  const auto seen = moments(QueryMoments::Form::kPlain, 4);
  const auto n = static_cast<double>(seen->counted());
  const int last = shape_.layers * shape_.query_heads - 1;
  const auto sum = seen->sum(shape_.layers - 1, shape_.query_heads - 1),
             outer = seen->outer(shape_.layers - 1, shape_.query_heads - 1);
  for (int64_t a = 0; a < d; ++a) {
    EXPECT_NEAR(mean[last * d + a], sum[a] / n, 1e-5);
    for (int64_t b = 0; b <= a; ++b) {
      const double expected = (outer[a * d + b] - sum[a] * sum[b] / n) / (n - 1);
      EXPECT_NEAR(covariance[(last * d + a) * d + b], expected, 1e-4);
      EXPECT_EQ(covariance[(last * d + a) * d + b], covariance[(last * d + b) * d + a]);
    }
  }
  const std::string recipe = "expected_attention(keep=0.5,statistics=\"" + folder() + "\")";
  EXPECT_NO_THROW(make_method(resolve_recipe(recipe, {}), shape_));
}

TEST_F(QueryTrainers, TheTextIsOnRecord) {
  run("qfilter");
  const auto record = read_trained_on(folder());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->texts().at(0).name, "text.txt");
  EXPECT_GT(record->overlap(context(trainer("qfilter"), 300).texts[0].tokens), 0);
  const MappedFile file(folder() + "/kvlab.json");
  EXPECT_EQ(parse_json(file.text(), file.path()).at("method"), "qfilter");
}

TEST_F(QueryTrainers, TextsWithoutAPassageAreRefused) {
  for (const char* name : {"qfilter", "expected_attention"}) {
    try {
      run(name, 10);
      FAIL() << name << " was trained";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("10 tokens"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace kvlab
