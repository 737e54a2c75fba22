// Few rows go through a layer another way than many: whatever the sizes of heads and groups, the same tokens
// give the same states, and the head says the same about them.
#include <fmt/format.h>
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

using testing::TempFolder;
using testing::ThreadCount;
using testing::TinyModelOptions;

constexpr int kTokens = 60;

class NarrowTest : public ::testing::Test {
 protected:
  // Matrices of the tiny generator, smaller the longer their rows are: heads of 256 would else see nothing but
  // one entry each, where a last bit tips the softmax.
  std::shared_ptr<const Model> load(const TinyModelOptions& options, DType type) const {
    const TempFolder folder;
    return load_model(open_model(write_tiny_hf(options, folder.path()).string()), type);
  }

  static std::vector<int32_t> tokens(int vocab) {
    std::vector<int32_t> result(kTokens);
    for (int i = 0; i < kTokens; ++i)
      result[i] = static_cast<int32_t>(mix64(77 + i) % static_cast<uint64_t>(vocab));
    return result;
  }

  ThreadCount threads_{2};
};

TinyModelOptions options_of(int head_dim, int group, int kv_heads) {
  TinyModelOptions options;
  options.head_dim = head_dim;
  options.kv_heads = kv_heads;
  options.query_heads = group * kv_heads;
  return options;
}

// The tokens in extends of at most `largest`.
std::vector<float> states_of(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
                             const std::vector<size_t>& extends) {
  CacheOptions options;
  options.type = model->type();
  Session session(model, make_method(resolve_recipe("none", {}), shape_of(model->config())), options);
  std::vector<float> values;
  for (size_t at = 0, e = 0; at < tokens.size(); ++e) {
    const size_t count = std::min(extends[e % extends.size()], tokens.size() - at);
    const HiddenStates states = session.extend(std::span(tokens).subspan(at, count));
    values.insert(values.end(), states.values.data(), states.row(states.rows));
    at += count;
  }
  return values;
}

struct Difference {
  double largest = 0, mean = 0;  // the mean is the root of that of squares; states are about 1
};

Difference difference(const std::vector<float>& a, const std::vector<float>& b) {
  Difference result;
  double squares = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(d <= result.largest)) result.largest = d;
    squares += d * d;
  }
  result.mean = std::sqrt(squares / static_cast<double>(a.size()));
  return result;
}

void expect_same_states(const std::shared_ptr<const Model>& model) {
  const std::vector<int32_t> text = [&] {
    std::vector<int32_t> result(kTokens);
    for (int i = 0; i < kTokens; ++i)
      result[i] = static_cast<int32_t>(mix64(77 + static_cast<uint64_t>(i)) % 96);
    return result;
  }();
  const std::vector<float> whole = states_of(model, text, {kTokens});
  for (const std::vector<size_t>& extends :
       {std::vector<size_t>{1}, {16}, {2, 17, 1, 5, 20, 3, 16}}) {
    const Difference d = difference(whole, states_of(model, text, extends));
    if (getenv("SHOW")) fmt::print("  {} largest {:.2e} mean {:.2e}\n", dtype_name(model->type()), d.largest, d.mean);
  }
}

TEST_F(NarrowTest, HeadAndGroupSizesMakeNoDifference) {
  for (const int head_dim : {32, 48, 64, 80, 96, 128, 256}) {
    for (const int group : {1, 3, 16}) {
      SCOPED_TRACE(fmt::format("heads of {}, groups of {}", head_dim, group));
      fmt::print("{} {}\n", head_dim, group);
      expect_same_states(load(options_of(head_dim, group, 2), DType::kF32));
      if (cpu_has_bf16_dot()) expect_same_states(load(options_of(head_dim, group, 2), DType::kBF16));
    }
  }
}

}  // namespace
}  // namespace kvlab
