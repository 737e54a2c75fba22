// The output head for few rows against its blocked form, over a vocabulary of several slabs: the same logits
// as far as sums of floats are the same, the same losses and winners, and no say of the number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "engine/scoring.h"
#include "kernels/narrow_gemm.h"
#include "support/thread_count.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using testing::ThreadCount;

constexpr int kVocab = 2 * OutputHead::kSlab + 300;

std::shared_ptr<const Model> wide_model(DType type) {
  const testing::TempFolder folder;
  testing::TinyModelOptions options;
  options.layers = 1;
  options.vocab = kVocab;
  return load_model(open_model(write_tiny_hf(options, folder.path()).string()), {.type = type});
}

// States of a norm's size.
HiddenStates random_states(int64_t rows, int size) {
  HiddenStates states;
  states.rows = rows;
  states.size = size;
  states.values = Buffer<float>(static_cast<size_t>(rows * size));
  for (size_t i = 0; i < states.values.size(); ++i)
    states.values[i] = 3 * entry_uniform(5, 0, 0, 0, i) - 1.5f;
  return states;
}

std::vector<float> blocked_logits(const OutputHead& head, const HiddenStates& states) {
  std::vector<float> result(static_cast<size_t>(states.rows) * head.vocab());
  std::vector<float> slab_logits(OutputHead::kRows * OutputHead::kSlab);
  GemmScratch scratch;
  for (int slab = 0; slab < head.slabs(); ++slab) {
    head.logits(slab, states.row(0), static_cast<int>(states.rows), slab_logits.data(), scratch);
    for (int64_t r = 0; r < states.rows; ++r) {
      std::copy_n(slab_logits.begin() + r * OutputHead::kSlab, head.slab_size(slab),
                  result.begin() + r * head.vocab() + head.slab_first(slab));
    }
  }
  return result;
}

void expect_agreement(DType type) {
  const std::shared_ptr<const Model> model = wide_model(type);
  const HiddenStates states = random_states(40, model->config().hidden);
  const std::vector<float> wanted = blocked_logits(model->head(), states);
  const std::vector<int32_t> winners = most_likely(*model, states);
  std::vector<int32_t> targets(40);
  for (int r = 0; r < 40; ++r) targets[r] = r * 113 % kVocab;
  const std::vector<float> losses = token_losses(*model, states, targets);
  for (const auto& [first, rows] : {std::pair{0, 1}, {39, 1}, {7, 2}, {11, 5}, {20, kNarrowRows}}) {
    const std::vector<float> logits = next_logits(*model, states, first, rows);
    ASSERT_EQ(logits.size(), static_cast<size_t>(rows) * kVocab);
    for (int r = 0; r < rows; ++r) {
      const float* own = logits.data() + static_cast<size_t>(r) * kVocab;
      const float* block = wanted.data() + static_cast<size_t>(first + r) * kVocab;
      double sum = 0;
      for (int v = 0; v < kVocab; ++v) {
        ASSERT_NEAR(own[v], block[v], 1e-4) << "row " << first + r << ", token " << v;
        sum += std::exp(static_cast<double>(own[v]));
      }
      EXPECT_NEAR(std::log(sum) - own[targets[first + r]], losses[first + r], 1e-4);
      const auto winner = static_cast<int32_t>(std::max_element(own, own + kVocab) - own);
      EXPECT_NEAR(own[winner], own[winners[first + r]], 1e-4);
      EXPECT_EQ(most_likely(*model, states, first + r), winner) << "of all rows and of one";
    }
  }
  EXPECT_TRUE(next_logits(*model, states, 0, 0).empty());
}

TEST(NextLogits, EqualTheBlockedHead) {
  expect_agreement(DType::kF32);
  if (!cpu_has_bf16_dot()) GTEST_SKIP() << "this processor has no bf16 products";
  expect_agreement(DType::kBF16);
}

TEST(NextLogits, OfEqualsTheLowestIdWins) {
  const std::shared_ptr<const Model> model = wide_model(DType::kF32);
  for (const int64_t rows : {1, 16, 17, 70}) {
    HiddenStates states = random_states(rows, model->config().hidden);
    states.values.zero();  // all logits are 0
    EXPECT_EQ(most_likely(*model, states), std::vector<int32_t>(rows, 0)) << rows << " rows";
    EXPECT_EQ(most_likely(*model, states, rows - 1), 0);
  }
}

// What the head says of 1, 16 and 130 rows, in bits.
std::vector<std::vector<float>> said(const Model& model) {
  std::vector<std::vector<float>> result;
  for (const int64_t rows : {1, 16, 130}) {
    const HiddenStates states = random_states(rows, model.config().hidden);
    std::vector<int32_t> targets(rows);
    for (int64_t r = 0; r < rows; ++r) targets[r] = static_cast<int32_t>(r * 113 % kVocab);
    result.push_back(token_losses(model, states, targets));
    result.push_back(next_logits(model, states, 0, std::min<int64_t>(rows, kNarrowRows)));
    const std::vector<int32_t> winners = most_likely(model, states);
    result.emplace_back(winners.begin(), winners.end());
  }
  return result;
}

TEST(NextLogits, ThreadsHaveNoSay) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    if (type == DType::kBF16 && !cpu_has_bf16_dot()) continue;
    const std::shared_ptr<const Model> model = wide_model(type);
    std::vector<std::vector<float>> one;
    {
      const ThreadCount threads(1);
      one = said(*model);
    }
    for (const int count : {2, 3, 5}) {
      const ThreadCount threads(count);
      EXPECT_EQ(one, said(*model)) << count << " threads, " << dtype_name(type);
    }
  }
}

}  // namespace
}  // namespace kvlab
