// KVzip+ scores against the definition, in double loops.
#include "train/kvzip_targets.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/session.h"
#include "support/thread_count.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using testing::TempFolder;

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

// A prompt of 8 + 70 + 5 + 70 tokens: a copy is more than a block of queries.
class KvzipTargets : public ::testing::Test {
 protected:
  static constexpr int kLength = 70, kFirst = 8, kSecond = kFirst + kLength + 5, kTokens = kSecond + kLength;

  KvzipTargets() {
    model_ = load_model(open_model(testing::write_tiny_hf({}, folder_.path()).string()), {DType::kF32});
    shape_ = shape_of(model_->config());
    projection_ = model_->output_projection(1);
    prompt_.tokens.resize(kTokens);
    prompt_.first = kFirst;
    prompt_.second = kSecond;
    prompt_.length = kLength;
    const int kv = shape_.kv_heads * shape_.head_dim, all = shape_.query_heads * shape_.head_dim;
    q_ = random_values(static_cast<size_t>(kTokens) * all, 1);
    k_ = random_values(static_cast<size_t>(kTokens) * kv, 2);
    v_ = random_values(static_cast<size_t>(kTokens) * kv, 3);
    hidden_ = random_values(static_cast<size_t>(kTokens) * shape_.hidden, 4);
    block_ = {.layer = 1,
              .rows = kTokens,
              .q = q_.data(),
              .k = k_.data(),
              .v = v_.data(),
              .q_stride = all,
              .kv_stride = kv,
              .hidden = hidden_.data()};
  }

  double weight(int head, int j, int i) const {
    const int64_t window = shape_.window(1);
    const auto exponential = [&](int key) {
      if (window > 0 && key <= j - window) return 0.0;
      double dot = 0;
      for (int c = 0; c < shape_.head_dim; ++c)
        dot += static_cast<double>(q_[j * block_.q_stride + head * shape_.head_dim + c]) *
               k_[key * block_.kv_stride + head / shape_.group() * shape_.head_dim + c];
      return std::exp(dot / std::sqrt(shape_.head_dim));
    };
    double sum = 0;
    for (int key = 0; key <= j; ++key) sum += exponential(key);
    return exponential(i) / sum;
  }

  double output_norm(int head, int i) const {
    double square = 0;
    for (int o = 0; o < shape_.hidden; ++o) {
      double sum = 0;
      for (int c = 0; c < shape_.head_dim; ++c)
        sum += static_cast<double>(v_[i * block_.kv_stride + head / shape_.group() * shape_.head_dim + c]) *
               projection_[static_cast<size_t>(head * shape_.head_dim + c) * shape_.hidden + o];
      square += sum * sum;
    }
    return std::sqrt(square);
  }

  double hidden_norm(int j) const {
    double square = 0;
    for (int c = 0; c < shape_.hidden; ++c)
      square += std::pow(hidden_[static_cast<size_t>(j) * shape_.hidden + c], 2);
    return std::sqrt(square);
  }

  double expected(int kv_head, int i) const {
    double most = 0;
    for (int head = kv_head * shape_.group(); head < (kv_head + 1) * shape_.group(); ++head) {
      const double norm = output_norm(head, kFirst + i);
      for (int j = kSecond; j < kTokens; ++j)
        most = std::max(most, weight(head, j, kFirst + i) * norm / hidden_norm(j));
    }
    return std::log(most);
  }

  std::vector<float> targets() const {
    return kvzip_targets(block_, prompt_, shape_, output_grams(*model_, 1));
  }

  TempFolder folder_;
  std::shared_ptr<const Model> model_;
  ModelShape shape_;
  RepeatPrompt prompt_;
  std::vector<float> projection_, q_, k_, v_, hidden_;
  LayerBlock block_;
};

TEST_F(KvzipTargets, AreTheDefinitions) {
  const std::vector<float> given = targets();
  ASSERT_EQ(given.size(), static_cast<size_t>(shape_.kv_heads) * kLength);
  for (int head = 0; head < shape_.kv_heads; ++head) {
    for (const int i : {0, 1, 33, 63, 64, 69})
      EXPECT_NEAR(given[head * kLength + i], expected(head, i), 1e-4) << head << " " << i;
  }
}

TEST_F(KvzipTargets, KnowTheLayersWindow) {
  shape_.windows = {0, 90};
  const std::vector<float> given = targets();
  // The first query of the second copy is at 83; its window of 90 reaches all, that of the last, 152, from 63
  // on.
  for (const int i : {0, 54, 55, 69}) EXPECT_NEAR(given[i], expected(0, i), 1e-4) << i;
  shape_.windows = {0, 10};  // reaches no token of the first copy but the last ones
  const std::vector<float> narrow = targets();
  EXPECT_EQ(narrow[0], -INFINITY);
  EXPECT_NEAR(narrow[kLength - 1], expected(0, kLength - 1), 1e-4);
}

TEST_F(KvzipTargets, DoNotDependOnThreads) {
  std::vector<float> one;
  {
    const testing::ThreadCount threads(1);
    one = targets();
  }
  const testing::ThreadCount threads(3);
  EXPECT_EQ(targets(), one);
}

}  // namespace
}  // namespace kvlab
