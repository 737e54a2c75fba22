// The numbers a policy works with, by hand.
#include "cache/policy.h"

#include <gtest/gtest.h>

#include "cache/naive_policy.h"

namespace kvlab {
namespace {

using testing::NaivePolicy;
using Budget = NaivePolicy::Budget;

Policy make(Budget budget, double value, int64_t sinks, int64_t window,
            WindowRule rule = WindowRule::kUsual) {
  return NaivePolicy{budget, value, sinks, window, rule, 1}.policy();
}

TEST(Policy, WindowByRule) {
  EXPECT_EQ(make(Budget::kThreshold, 0, 0, -1).window_at(10), 128);
  EXPECT_EQ(make(Budget::kFreeDensity, 0.5, 0, -1).window_at(1000), 128);
  EXPECT_EQ(make(Budget::kThreshold, 0, 0, -1, WindowRule::kHalf).window_at(10), 512);
  EXPECT_EQ(make(Budget::kFreeDensity, 0.5, 0, -1, WindowRule::kHalf).window_at(10), 512);

  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, -1).window_at(10), 2);      // floor(floor(10 * 0.5) / 2)
  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, -1).window_at(511), 127);   // k = 255
  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, -1).window_at(4000), 128);  // not more than the usual window
  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, -1, WindowRule::kHalf).window_at(4000), 1000);
  EXPECT_EQ(make(Budget::kSize, 160, 0, -1).window_at(3), 80);
  EXPECT_EQ(make(Budget::kSize, 1000, 0, -1).window_at(3), 128);
  EXPECT_EQ(make(Budget::kSize, 1001, 0, -1, WindowRule::kHalf).window_at(3), 500);

  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, -1, WindowRule::kOne).window_at(4000), 1);
  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, 7, WindowRule::kHalf).window_at(4000), 7);  // what is written wins
}

TEST(Policy, ProtectedCountsEachTokenOnce) {
  const Policy policy = make(Budget::kFreeDensity, 0.5, 4, 10);
  EXPECT_EQ(policy.protected_at(1), 1);
  EXPECT_EQ(policy.protected_at(10), 10);
  EXPECT_EQ(policy.protected_at(12), 12);  // sinks and window overlap
  EXPECT_EQ(policy.protected_at(14), 14);
  EXPECT_EQ(policy.protected_at(100), 14);
  EXPECT_TRUE(policy.is_protected(3, 100));
  EXPECT_FALSE(policy.is_protected(4, 100));
  EXPECT_FALSE(policy.is_protected(89, 100));
  EXPECT_TRUE(policy.is_protected(90, 100));
}

TEST(Policy, Limits) {
  EXPECT_EQ(make(Budget::kKeep, 0.5, 0, 0).limit_at(9), 4);
  EXPECT_EQ(make(Budget::kKeep, 0.29, 0, 0).limit_at(100), 29);  // 0.29 * 100 is a little less in binary
  EXPECT_EQ(make(Budget::kKeep, 0.01, 0, 0).limit_at(3), 1);     // never without an entry
  EXPECT_EQ(make(Budget::kKeep, 1, 0, 0).limit_at(77), 77);
  EXPECT_EQ(make(Budget::kSize, 160, 4, 10).limit_at(3), 160);
  EXPECT_EQ(make(Budget::kFreeDensity, 0.25, 4, 10).limit_at(100), 14 + 21);  // floor(86 / 4)
  EXPECT_EQ(make(Budget::kFreeDensity, 0.25, 4, 10).limit_at(12), 12);
}

TEST(Policy, ActsCountsFromTheStartOfTheSession) {
  Policy policy = make(Budget::kKeep, 0.5, 0, 0);
  policy.every = 7;
  EXPECT_FALSE(policy.acts(6));
  EXPECT_TRUE(policy.acts(7));
  EXPECT_TRUE(policy.acts(14));
  policy.at_context = true;
  EXPECT_FALSE(policy.acts(14));
  EXPECT_FALSE(Policy().acts(14));
}

TEST(Policy, NeutralMeansThatNothingCanGo) {
  EXPECT_TRUE(Policy().neutral());
  EXPECT_TRUE(make(Budget::kKeep, 1, 0, 0).neutral());
  EXPECT_TRUE(make(Budget::kFreeDensity, 1, 0, 0).neutral());
  EXPECT_FALSE(make(Budget::kKeep, 0.99, 0, 0).neutral());
  EXPECT_FALSE(make(Budget::kSize, 1 << 20, 0, 0).neutral());
  EXPECT_FALSE(make(Budget::kThreshold, -1e30, 0, 0).neutral());
}

}  // namespace
}  // namespace kvlab
