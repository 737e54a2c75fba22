// Few rows go through a layer another way than many. Whatever the sizes of heads and groups, the same tokens
// give the same states.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "engine/session.h"
#include "support/thread_count.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using testing::TempFolder;
using testing::ThreadCount;
using testing::TinyModelOptions;

constexpr size_t kTokens = 44;

std::vector<int32_t> text(int vocab) {
  std::vector<int32_t> tokens(kTokens);
  for (size_t i = 0; i < kTokens; ++i)
    tokens[i] = static_cast<int32_t>(mix64(77 + i) % static_cast<uint64_t>(vocab));
  return tokens;
}

// The states of the text in extends of these lengths, over and over.
std::vector<float> states_of(const std::shared_ptr<const Model>& model, const std::vector<size_t>& lengths) {
  const std::vector<int32_t> tokens = text(model->config().vocab);
  CacheOptions options;
  options.type = model->type();
  Session session(model, make_method(resolve_recipe("none", {}), shape_of(model->config())), options);
  std::vector<float> values;
  for (size_t at = 0, e = 0; at < kTokens; ++e) {
    const size_t count = std::min(lengths[e % lengths.size()], kTokens - at);
    const HiddenStates states = session.extend(std::span(tokens).subspan(at, count));
    values.insert(values.end(), states.values.data(), states.row(states.rows));
    at += count;
  }
  return values;
}

struct Distance {
  double largest = 0, mean = 0;  // the mean is the root of that of the squares
};

// Relative to the largest value of a.
Distance distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  Distance result;
  double scale = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(d <= result.largest)) result.largest = d;  // a NaN counts
    squares += d * d;
    scale = std::max<double>(scale, std::abs(a[i]));
  }
  EXPECT_GT(scale, 0);
  return {result.largest / scale, std::sqrt(squares / static_cast<double>(a.size())) / scale};
}

void expect_same_states(const std::shared_ptr<const Model>& model) {
  const std::vector<float> whole = states_of(model, {kTokens});
  for (const std::vector<size_t>& lengths : {std::vector<size_t>{1}, {16}, {2, 17, 1, 5}}) {
    const Distance d = distance(whole, states_of(model, lengths));
    if (model->type() == DType::kF32) {
      EXPECT_LT(d.largest, 1e-5);
    } else {
      EXPECT_LT(d.largest, 0.05);
      EXPECT_LT(d.mean, 0.005);
    }
  }
}

void expect_same_states(int head_dim, int group, int kv_heads) {
  SCOPED_TRACE(fmt::format("heads of {}, groups of {}", head_dim, group));
  const ThreadCount threads(2);
  const TempFolder folder;
  TinyModelOptions options;
  options.hidden = 32;
  options.intermediate = 80;
  options.head_dim = head_dim;
  options.kv_heads = kv_heads;
  options.query_heads = group * kv_heads;
  const ModelFiles files = open_model(write_tiny_hf(options, folder.path()).string());
  expect_same_states(load_model(files, {.type = DType::kF32}));
  if (cpu_has_bf16_dot()) expect_same_states(load_model(files, {.type = DType::kBF16}));
}

TEST(Narrow, HeadSizesMakeNoDifference) {
  for (const int head_dim : {32, 48, 64, 80, 96, 128, 256}) {
    for (const int group : {1, 5}) expect_same_states(head_dim, group, 2);
  }
  expect_same_states(256, 16, 1);
}

TEST(Narrow, GroupSizesMakeNoDifference) {
  for (int group = 1; group <= 16; ++group) expect_same_states(32, group, 2);
  expect_same_states(80, 7, 3);
  expect_same_states(64, 16, 1);
}

// Decoding from the file's own quantised weights, of which up to 4 rows at a time read them.
TEST(Narrow, TheFilesOwnWeightsMakeNoDifference) {
  if (!cpu_has_bf16_dot()) GTEST_SKIP() << "this processor has no bf16 products";
  for (const testing::TinyGgufType type : {testing::TinyGgufType::kQ4_1, testing::TinyGgufType::kQ8_0}) {
    for (const int group : {1, 3, 5}) {
      SCOPED_TRACE(fmt::format("type {}, groups of {}", static_cast<int>(type), group));
      const ThreadCount threads(2);
      const TempFolder folder;
      TinyModelOptions options;
      options.head_dim = 32;
      options.query_heads = group * options.kv_heads;
      const ModelFiles files = open_model(write_tiny_gguf(options, folder.path() / "m.gguf", type).string());
      const auto model = load_model(files, {.type = DType::kBF16, .decode = DecodeWeights::kFile});
      if (quantised_is_fast()) {
        EXPECT_LT(model->step_bytes(1), model->step_bytes(16)) << "the test means little without them";
      }
      expect_same_states(model);
    }
  }
}

}  // namespace
}  // namespace kvlab
