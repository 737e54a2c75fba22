// DuoAttention's head scores against the recipe written out, and what the trainer writes.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "contract/harness.h"
#include "engine/session.h"
#include "format/trained_on.h"
#include "kernels/rotary_table.h"
#include "support/damage.h"
#include "support/temp_folder.h"
#include "train/head_scores.h"
#include "train/trainer.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;
using Vector = std::vector<double>;

// x rotated to a position; pairs (i, i + pairs).
Vector rotated(const Vector& x, const Vector& frequencies, int position) {
  Vector y = x;
  const size_t pairs = frequencies.size();
  for (size_t i = 0; i < pairs; ++i) {
    const double c = std::cos(position * frequencies[i]), s = std::sin(position * frequencies[i]);
    y[i] = x[i] * c - x[i + pairs] * s;
    y[i + pairs] = x[i + pairs] * c + x[i] * s;
  }
  return y;
}

double plain_weight_behind(const Vector& q, const Vector& k, const Vector& frequencies, int positions) {
  const Vector last = rotated(q, frequencies, positions - 1);
  Vector weights;
  for (int j = 0; j < positions; ++j) {
    const Vector key = rotated(k, frequencies, j);
    weights.push_back(std::exp(std::inner_product(last.begin(), last.end(), key.begin(), 0.0) /
                               std::sqrt(static_cast<double>(q.size()))));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0, mean = 0;
  for (const double weight : weights) mean += (sum += weight / total) / positions;
  return mean;
}

TEST(HeadScores, WeightBehindIsTheAreaUnderTheSums) {
  const Vector frequencies = {1.0, 0.2, 0.01}, q = {1, -2, 0.5, 2, 1, -1, 0.3, 0.7},
               k = {0.5, 1, 2, -1, 0.2, 1.5, -2, 1};
  for (const int positions : {2, 7, 100}) {
    EXPECT_NEAR(weight_behind(q.data(), k.data(), 8, RotaryFrequencies(frequencies), positions),
                plain_weight_behind(q, k, frequencies, positions), 1e-9);
  }
  const Vector nothing(8);
  EXPECT_NEAR(weight_behind(nothing.data(), k.data(), 8, RotaryFrequencies(frequencies), 9), 5.0 / 9, 1e-12)
      << "all positions alike";
}

// Collects queries and keys as they are.
class Collector : public LayerTap {
 public:
  void see(const LayerBlock& block) override {
    if (block.layer != 1) return;
    const ModelShape shape = tiny_shape();
    const auto keep = [&](const float* x, int64_t stride, int heads, std::vector<Vector>& sums) {
      sums.resize(heads, Vector(shape.head_dim));
      const RotaryTable table(shape.rotary, block.first, block.rows);
      Vector plain(shape.head_dim);
      for (int r = 0; r < block.rows; ++r) {
        for (int h = 0; h < heads; ++h) {
          unrotate_half_split(x + r * stride + h * shape.head_dim, table.cos_row(r), table.sin_row(r),
                              table.pairs, shape.head_dim, plain.data());
          for (int i = 0; i < shape.head_dim; ++i) sums[h][i] += plain[i];
        }
      }
    };
    keep(block.q, block.q_stride, shape.query_heads, q);
    keep(block.k, block.kv_stride, shape.kv_heads, k);
  }
  std::vector<Vector> q, k;
};

template <typename Tap>
std::shared_ptr<Tap> read(std::shared_ptr<Tap> tap, const std::vector<int32_t>& tokens, size_t block) {
  CacheOptions options;
  options.tap = tap;
  Session session(tiny_model(), testing::method_of("none"), options);
  for (size_t at = 0; at < tokens.size(); at += block)
    session.extend(std::span(tokens).subspan(at, std::min(block, tokens.size() - at)));
  return tap;
}

TEST(HeadScores, AreOfTheMeansOverTheWholeText) {
  const std::vector<int32_t> tokens = random_tokens(90, 8);
  const auto directions = read(std::make_shared<MeanDirections>(tiny_shape()), tokens, 90);
  const auto plain = read(std::make_shared<Collector>(), tokens, 90);
  const ModelShape shape = tiny_shape();
  const Vector scores = directions->scores(50),
               split = read(std::make_shared<MeanDirections>(tiny_shape()), tokens, 17)->scores(50);
  ASSERT_EQ(scores.size(), static_cast<size_t>(shape.layers) * shape.kv_heads);
  for (int head = 0; head < shape.kv_heads; ++head) {
    const auto mean = [&](Vector x) {
      for (double& e : x) e /= 90;
      return x;
    };
    double expected = 0;
    for (int g = 0; g < shape.group(); ++g) {
      expected += plain_weight_behind(mean(plain->q[head * shape.group() + g]), mean(plain->k[head]),
                                      shape.rotary.at(0), 50) /
                  shape.group();
    }
    EXPECT_NEAR(scores[shape.kv_heads + head], expected, 1e-6);
  }
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(scores[i], split[i], 1e-6) << "whatever the split";
}

const TrainerInfo& trainer() {
  for (const TrainerInfo* info : registry_trainers()) {
    if (info->name == "duo_attention") return *info;
  }
  throw std::logic_error("no trainer duo_attention");
}

TrainContext context_for(const std::filesystem::path& output, int tokens) {
  TrainContext context;
  context.model = tiny_model();
  context.texts = {{"folder/text.txt", random_tokens(tokens, 9)}};
  context.output = output;
  context.provenance = {{"model", "tiny"}};
  context.values = Values(trainer().fields);
  context.values.set("passage_tokens", int64_t{40});
  context.values.set("passages", int64_t{3});
  return context;
}

TEST(HeadScores, TheTrainerWritesWhatTheScorerReads) {
  TempFolder folder;
  const TrainReport report = trainer().run(context_for(folder.path(), 300));
  EXPECT_TRUE(report.finished);
  EXPECT_EQ(report.lines.size(), 1u + static_cast<size_t>(tiny_shape().layers));
  const auto method = testing::method_of("duo_attention(model=\"" + folder.path().string() + "\")");
  EXPECT_EQ(method->spec.policy.table->values.size(),
            static_cast<size_t>(tiny_shape().layers * tiny_shape().kv_heads));
  const auto record = read_trained_on(folder.path().string());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->texts().at(0).name, "text.txt");
  EXPECT_THAT(folder.read("kvlab.json"), HasSubstr("\"passages\": 3"));
}

TEST(HeadScores, TextsTooShortAreRefused) {
  TempFolder folder;
  EXPECT_THAT(testing::error_text([&] { trainer().run(context_for(folder.path(), 10)); }),
              HasSubstr("no passage of about 40 tokens"));
}

}  // namespace
}  // namespace kvlab
