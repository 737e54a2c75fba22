// attend_entries against sums in double, on every instruction set the machine has.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/every_level.h"
#include "kernels/page_attention.h"
#include "kernels/test_pages.h"

namespace kvlab {
namespace {

std::vector<double> softmax(const TestPages& entries, int head_dim, const float* q, double scale) {
  std::vector<double> p(entries.size());
  double max = -INFINITY, total = 0;
  for (int slot = 0; slot < entries.size(); ++slot) {
    for (int i = 0; i < head_dim; ++i) p[slot] += double{q[i]} * entries.key(slot)[i];
    p[slot] *= scale;
    max = std::max(max, p[slot]);
  }
  for (double& x : p) total += x = std::exp(x - max);
  for (double& x : p) x /= total;
  return p;
}

void check(int head_dim, DType type, int group, int size, float query_size = 3) {
  SCOPED_TRACE(testing::Message() << dtype_name(type) << " head_dim " << head_dim << " group " << group
                                  << " entries " << size);
  TestPages entries(head_dim, type);
  entries.append_random(size, 5);
  const float scale = attention_scale(head_dim);
  const int64_t stride = int64_t{entries.pages()} * kPageSlots + 16, q_head = head_dim + 3,
                out_head = head_dim + 1;
  std::vector<float> q = random_floats(group * q_head, 77), out(group * out_head, -5);
  for (float& x : q) x *= query_size;
  Buffer<float> weights(group * stride);
  std::fill_n(weights.data(), weights.size(), -5.0f);
  PageAttentionScratch scratch;
  attend_entries(entries.all(), size, type, head_dim, q.data(), q_head, group, scale, weights.data(), stride,
                 out.data(), out_head, scratch);
  const bool narrow = type == DType::kBF16 && attention_uses_bf16_instructions();
  for (int g = 0; g < group; ++g) {
    const std::vector<double> expected = softmax(entries, head_dim, &q[g * q_head], scale);
    double total = 0;
    for (int64_t i = 0; i < stride; ++i) {
      const double weight = weights[g * stride + i];
      // Nothing is written past the padding, which is exactly 0.
      if (i >= size) {
        ASSERT_EQ(weight, i < stride - 16 ? 0 : -5) << i;
        continue;
      }
      ASSERT_NEAR(weight, expected[i], narrow ? 1e-6 + expected[i] / 30 : 1e-6) << i;
      total += weight;
    }
    EXPECT_NEAR(total, 1, 1e-5);  // the weights are exact floats of what was scored, in bf16 too
    for (int i = 0; i < head_dim; ++i) {
      double sum = 0;
      for (int slot = 0; slot < size; ++slot) sum += expected[slot] * entries.value(slot)[i];
      ASSERT_NEAR(out[g * out_head + i], sum, narrow ? 1.0 / 128 : kTolerance) << i;
    }
    EXPECT_EQ(out[g * out_head + head_dim], -5);
  }
}

TEST(AttendEntries, MatchesReferenceForEveryHeadSize) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16})
      for (int head_dim : {2, 4, 6, 8, 16, 20, 32, 48, 64, 80, 96, 128, 256}) check(head_dim, type, 3, 150);
  });
}

TEST(AttendEntries, MatchesReferenceForEveryGroup) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16})
      for (int group : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16}) check(48, type, group, 100);
  });
}

TEST(AttendEntries, MatchesReferenceForEverySize) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16})
      for (int size : {1, 2, 15, 16, 17, 31, 33, 64, 65, 127, 255, 256, 257, 300, 1000})
        for (int group : {1, 3}) check(32, type, group, size);
  });
}

TEST(AttendEntries, TakesFlatWeights) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) check(64, type, 3, 400, 0);
  });
}

}  // namespace
}  // namespace kvlab
