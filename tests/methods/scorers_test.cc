// Every scorer's formula against a plain transcription.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "base/error.h"
#include "base/random.h"
#include "cache/method.h"
#include "format/safetensors.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

constexpr ModelShape kShape{/*layers=*/2, /*hidden=*/12, /*query_heads=*/4, /*kv_heads=*/2, /*head_dim=*/8};
constexpr int kRows = 5;

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

// Scores of a block of entries under a recipe: [head][row].
struct Block {
  std::vector<float> k = random_values(kRows * 16, 1), v = random_values(kRows * 16, 2);
  std::vector<float> hidden = random_values(kRows * 12, 3);

  std::vector<float> score(const std::string& recipe, int layer = 1) const {
    const auto method = make_method(resolve_recipe(recipe, {}), kShape);
    std::vector<float> out(2 * kRows);
    method->fixed()->score(
        {layer, /*first_position=*/7, kRows, k.data(), v.data(), 16, hidden.data(), /*document=*/3},
        out.data());
    return out;
  }
};

TEST(Scorers, KnormIsMinusTheKeysLength) {
  const Block block;
  const auto scores = block.score("knorm(keep=0.5)");
  for (int head = 0; head < 2; ++head) {
    for (int r = 0; r < kRows; ++r) {
      double sum = 0;
      for (int i = 0; i < 8; ++i) sum += std::pow(block.k[r * 16 + head * 8 + i], 2.0);
      EXPECT_NEAR(scores[head * kRows + r], -std::sqrt(sum), 1e-6);
    }
  }
}

TEST(Scorers, StreamingLlmIsThePosition) {
  const auto scores = Block().score("streaming_llm(keep=0.5)");
  for (int head = 0; head < 2; ++head) {
    for (int r = 0; r < kRows; ++r) EXPECT_EQ(scores[head * kRows + r], 7 + r);
  }
}

TEST(Scorers, RandomDependsOnWhatTheEntryIsOnly) {
  const auto scores = Block().score("random(keep=0.5,seed=9)");
  for (int head = 0; head < 2; ++head) {
    for (int r = 0; r < kRows; ++r) {
      EXPECT_EQ(scores[head * kRows + r], entry_uniform(9, 3, 1, static_cast<uint64_t>(head), 7 + r));
    }
  }
  EXPECT_NE(scores, Block().score("random(keep=0.5,seed=10)"));
  EXPECT_NE(scores, Block().score("random(keep=0.5,seed=9)", /*layer=*/0));
}

TEST(Scorers, RandomIsUniform) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = entry_uniform(1, 0, 0, 0, static_cast<uint64_t>(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
}

// A KVzap scorer folder with random weights; hidden_dim 0 writes the linear form.
std::vector<NamedTensor> write_kvzap(const std::filesystem::path& folder, int hidden_dim) {
  std::vector<NamedTensor> tensors;
  for (int layer = 0; layer < kShape.layers; ++layer) {
    const auto add = [&](const std::string& name, int64_t out, int64_t in) {
      const auto seed = static_cast<uint32_t>(100 + tensors.size());
      tensors.push_back(
          {"layers." + std::to_string(layer) + name + ".weight", {out, in}, random_values(out * in, seed)});
      tensors.push_back(
          {"layers." + std::to_string(layer) + name + ".bias", {out}, random_values(out, seed + 50)});
    };
    if (hidden_dim) {
      add(".0", hidden_dim, 12);
      add(".2", 2, hidden_dim);
    } else {
      add("", 2, 12);
    }
  }
  write_safetensors((folder / "model.safetensors").string(), tensors);
  std::ofstream(folder / "config.json")
      << "{\"n_modules\": 2, \"input_dim\": 12, \"output_dim\": 2, \"hidden_dim\": "
      << (hidden_dim ? std::to_string(hidden_dim) : "null") << "}";
  return tensors;
}

const std::vector<float>& values_of(const std::vector<NamedTensor>& tensors, const std::string& name) {
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name == name) return tensor.values;
  }
  throw std::runtime_error("no tensor " + name);
}

std::vector<double> apply(const std::vector<float>& weight, const std::vector<float>& bias,
                          const std::vector<double>& x) {
  std::vector<double> y(bias.begin(), bias.end());
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(weight[o * x.size() + i]) * x[i];
  }
  return y;
}

class Kvzap : public ::testing::TestWithParam<int> {};

TEST_P(Kvzap, IsTheLearnedModelOfTheLayer) {
  const testing::TempFolder folder;
  const auto tensors = write_kvzap(folder.path(), GetParam());
  const Block block;
  const auto scores = block.score("kvzap(threshold=-1,model=\"" + folder.path().string() + "\")");
  for (int r = 0; r < kRows; ++r) {
    std::vector<double> x(block.hidden.begin() + r * 12, block.hidden.begin() + (r + 1) * 12);
    const std::string last = GetParam() ? "layers.1.2" : "layers.1";
    if (GetParam()) {
      x = apply(values_of(tensors, "layers.1.0.weight"), values_of(tensors, "layers.1.0.bias"), x);
      for (double& m : x) m = 0.5 * m * (1 + std::erf(m / std::sqrt(2.0)));
    }
    const auto expected = apply(values_of(tensors, last + ".weight"), values_of(tensors, last + ".bias"), x);
    for (int head = 0; head < 2; ++head) EXPECT_NEAR(scores[head * kRows + r], expected[head], 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(LinearAndMlp, Kvzap, ::testing::Values(0, 6));

// Two heads of two queries each look at a growing cache; plain sums of the same weights.
struct Observed {
  static constexpr int kTokens = 6, kGroup = 2, kStride = 16;
  std::vector<std::vector<float>> weights;  // [query][group * stride]

  Observed() {
    std::mt19937 generator(5);
    std::uniform_real_distribution<float> uniform(0.05f, 1);
    for (int q = 0; q < kTokens; ++q) {
      std::vector<float> w(kGroup * kStride);
      for (int g = 0; g < kGroup; ++g) {
        float sum = 0;
        for (int j = 0; j <= q; ++j) sum += w[g * kStride + j] = uniform(generator);
        for (int j = 0; j <= q; ++j) w[g * kStride + j] /= sum;
      }
      weights.push_back(std::move(w));
    }
  }
  // The mean over the group of query q's weight on entry j.
  double mean(int q, int j) const { return (weights[q][j] + weights[q][kStride + j]) / 2.0; }

  std::vector<float> score(const std::string& recipe, int heads = 1) const {
    const auto method = make_method(resolve_recipe(recipe, {}), kShape);
    const WeightsScorer& scorer = *method->weights();
    std::vector<float> state(static_cast<size_t>(scorer.state_width()) * kStride), out(kTokens);
    for (int q = 0; q < kTokens; ++q) {
      for (int h = 0; h < heads; ++h) {
        scorer.observe({weights[q].data(), kStride, kGroup, q + 1, state.data(), kStride, h, heads});
      }
    }
    const std::vector<int32_t> positions = {0, 1, 2, 3, 4, 5};
    scorer.score(state.data(), kStride, positions, kTokens, out.data());
    return out;
  }
};

TEST(Scorers, H2oSumsWeightsOverQueriesAndGroup) {
  const Observed seen;
  const auto plain = seen.score("h2o(keep=0.5)"), relative = seen.score("h2o(threshold=1)");
  for (int j = 0; j < Observed::kTokens; ++j) {
    double sum = 0, uniform = 0;
    for (int q = j; q < Observed::kTokens; ++q) {
      sum += seen.mean(q, j);
      uniform += 1.0 / (q + 1);
    }
    EXPECT_NEAR(plain[j], 2 * sum, 1e-6);
    EXPECT_NEAR(relative[j], sum / uniform, 1e-5);
  }
}

TEST(Scorers, H2oMeansAreObservedAttention) {
  const Observed seen;
  const auto h2o = seen.score("h2o(keep=0.5,accumulate=mean)"),
             observed = seen.score("observed_attention(keep=0.5)"),
             relative = seen.score("h2o(threshold=1,accumulate=mean)"),
             observed_relative = seen.score("observed_attention(threshold=1)");
  for (int j = 0; j < Observed::kTokens; ++j) {
    EXPECT_FLOAT_EQ(h2o[j], observed[j]);
    EXPECT_FLOAT_EQ(relative[j], observed_relative[j]);
  }
}

TEST(Scorers, H2oDecayWeighsLateQueriesMost) {
  const Observed seen;
  const auto plain = seen.score("h2o(keep=0.5,accumulate=decay,decay=0.9)"),
             relative = seen.score("h2o(threshold=1,accumulate=decay,decay=0.9)");
  for (int j = 0; j < Observed::kTokens; ++j) {
    double sum = 0, uniform = 0;
    for (int q = j; q < Observed::kTokens; ++q) {
      const double weight = std::pow(0.9, Observed::kTokens - 1 - q);
      sum += weight * seen.mean(q, j);
      uniform += weight / (q + 1);
    }
    EXPECT_NEAR(plain[j], 2 * sum, 1e-6);
    EXPECT_NEAR(relative[j], sum / uniform, 1e-5);
  }
}

TEST(Scorers, H2oDecayAndItsFactorGoTogether) {
  const auto make = [](const std::string& recipe) { make_method(resolve_recipe(recipe, {}), kShape); };
  EXPECT_THROW(make("h2o(keep=0.5,accumulate=decay)"), UserError);
  EXPECT_THROW(make("h2o(keep=0.5,decay=0.9)"), UserError);
  EXPECT_THROW(make("h2o(keep=0.5,accumulate=mean,decay=0.9)"), UserError);
}

TEST(Scorers, ObservedAttentionIsTheMeanOverQueriesSinceBirth) {
  const Observed seen;
  const auto plain = seen.score("observed_attention(keep=0.5)"),
             relative = seen.score("observed_attention(threshold=1)");
  for (int j = 0; j < Observed::kTokens; ++j) {
    double sum = 0, scaled = 0;
    for (int q = j; q < Observed::kTokens; ++q) {
      sum += seen.mean(q, j);
      scaled += seen.mean(q, j) * (q + 1);
    }
    EXPECT_NEAR(plain[j], sum / (Observed::kTokens - j), 1e-6);
    EXPECT_NEAR(relative[j], scaled / (Observed::kTokens - j), 1e-5);
  }
}

TEST(Scorers, TovaIsTheLastQuerysMeanOverAllHeads) {
  const Observed seen;
  const auto scores = seen.score("tova(keep=0.5)", /*heads=*/2);
  for (int j = 0; j < Observed::kTokens; ++j)
    EXPECT_NEAR(scores[j], seen.mean(Observed::kTokens - 1, j), 1e-6);
}

}  // namespace
}  // namespace kvlab
