// The output head's online statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/simd_targets.h"

namespace kvlab {
namespace {

std::vector<float> logits(size_t n, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> v(n);
  for (float& x : v) x = std::clamp(distribution(random), -1e4f, 1e4f);
  return v;
}

HeadState head_in_slabs(const std::vector<float>& x, int slab, int32_t target) {
  HeadState state;
  const int n = static_cast<int>(x.size());
  for (int i = 0; i < n; i += slab) head_update(state, x.data() + i, i, std::min(slab, n - i), target);
  return state;
}

PairState pair_in_slabs(const std::vector<float>& base, const std::vector<float>& own, int slab,
                        int32_t target) {
  PairState state;
  const int n = static_cast<int>(base.size());
  for (int i = 0; i < n; i += slab) {
    pair_update(state, base.data() + i, own.data() + i, i, std::min(slab, n - i), target);
  }
  return state;
}

TEST(HeadStats, NllAndArgmaxMatchTheReferenceForAnySlabs) {
  for_each_target([](int64_t) {
    for (const size_t n : {1, 5, 37, 1000, 5003}) {
      for (const float scale : {0.0f, 1e-3f, 3.0f, 1e4f}) {
        const auto x = logits(n, scale, static_cast<unsigned>(n));
        const auto target = static_cast<int32_t>(n / 2);
        const double expected = reference::nll(x.data(), static_cast<int>(n), target);
        const auto best = std::max_element(x.begin(), x.end()) - x.begin();
        for (const int slab : {1, 3, 16, 100, 1024, 5003}) {
          const HeadState state = head_in_slabs(x, slab, target);
          ASSERT_NEAR(head_nll(state), expected, 1e-6 * std::abs(expected) + 1e-6)
              << n << " " << scale << " " << slab;
          ASSERT_EQ(state.argmax, best);
          ASSERT_EQ(state.max, x[static_cast<size_t>(best)]);
          ASSERT_EQ(state.target_logit, x[static_cast<size_t>(target)]);
        }
      }
    }
  });
}

TEST(HeadStats, KlMatchesTheReferenceForAnySlabs) {
  for_each_target([](int64_t) {
    for (const size_t n : {1, 5, 37, 1000, 5003}) {
      for (const float scale : {1e-3f, 3.0f, 1e4f}) {
        for (const float noise : {0.0f, 1e-2f, 1.0f}) {
          const auto base = logits(n, scale, 7);
          auto own = logits(n, noise * scale, 8);
          for (size_t i = 0; i < n; ++i) own[i] = std::clamp(own[i] + base[i], -1e4f, 1e4f);
          const double expected = reference::kl(base.data(), own.data(), static_cast<int>(n));
          for (const int slab : {1, 3, 16, 100, 1024, 5003}) {
            const PairState state = pair_in_slabs(base, own, slab, 0);
            const double kl = pair_kl(state);
            ASSERT_GE(kl, 0);
            ASSERT_NEAR(kl, std::max(expected, 0.0), 1e-6 * expected + 1e-6 * (1 + noise * scale))
                << n << " " << scale << " " << noise << " " << slab;
            // Both models' own statistics are those of the single update.
            const double nll = reference::nll(own.data(), static_cast<int>(n), 0);
            ASSERT_NEAR(head_nll(state.own), nll, 1e-6 * nll + 1e-6);
            ASSERT_EQ(state.base.argmax, head_in_slabs(base, slab, 0).argmax);
          }
        }
      }
    }
  });
}

TEST(HeadStats, SplitsAgree) {
  for_each_target([](int64_t) {
    const auto base = logits(49152, 4.0f, 1);
    auto own = logits(49152, 0.3f, 2);
    for (size_t i = 0; i < own.size(); ++i) own[i] += base[i];
    const PairState whole = pair_in_slabs(base, own, 49152, 11);
    for (const int slab : {1, 17, 512, 768, 4096, 30000}) {
      const PairState split = pair_in_slabs(base, own, slab, 11);
      EXPECT_NEAR(split.base.sum, whole.base.sum, 1e-6 * whole.base.sum);
      EXPECT_NEAR(split.own.sum, whole.own.sum, 1e-6 * whole.own.sum);
      EXPECT_NEAR(pair_kl(split), pair_kl(whole), 1e-6 * (1 + pair_kl(whole)));
      EXPECT_EQ(split.base.argmax, whole.base.argmax);
    }
  });
}

TEST(HeadStats, TiesGoToTheLowestIndexInAnyOrderOfSlabs) {
  for_each_target([](int64_t) {
    std::vector<float> x(100, -1.0f);
    x[20] = x[21] = x[40] = x[99] = 5.0f;
    for (const int slab : {1, 10, 30, 100}) EXPECT_EQ(head_in_slabs(x, slab, -1).argmax, 20);
    HeadState state;
    head_update(state, x.data() + 50, 50, 50, -1);
    EXPECT_EQ(state.argmax, 99);
    head_update(state, x.data(), 0, 50, -1);
    EXPECT_EQ(state.argmax, 20);
  });
}

TEST(HeadStats, ExtremesStayFinite) {
  for_each_target([](int64_t) {
    std::vector<float> base(33, -1e4f), own(33, 1e4f);
    base[32] = 1e4f;
    own[0] = -1e4f;
    for (const int slab : {1, 7, 33}) {
      const PairState state = pair_in_slabs(base, own, slab, 32);
      EXPECT_NEAR(head_nll(state.base), 0.0, 1e-9);
      EXPECT_NEAR(head_nll(state.own), std::log(32.0), 1e-6);
      EXPECT_NEAR(pair_kl(state), std::log(32.0), 1e-6);
      const PairState reverse = pair_in_slabs(own, base, slab, 0);
      EXPECT_NEAR(pair_kl(reverse), reference::kl(own.data(), base.data(), 33), 0.02);
      EXPECT_NEAR(head_nll(reverse.own), 2e4, 1e-6);
    }
  });
}

// A NaN in the logits is a bug elsewhere and must be seen, not swallowed. (Emulated vectors have no such
// promise.)
TEST(HeadStats, NanIsNotHidden) {
  for_each_target([](int64_t target) {
    if (target == HWY_EMU128) return;
    for (const int at : {0, 19, 36}) {
      auto x = logits(37, 1.0f, 3);
      const auto clean = x;
      x[static_cast<size_t>(at)] = std::nanf("");
      EXPECT_TRUE(std::isnan(head_nll(head_in_slabs(x, 37, 5))));
      EXPECT_TRUE(std::isnan(pair_kl(pair_in_slabs(clean, x, 37, 5))));
    }
  });
}

}  // namespace
}  // namespace kvlab
