// A team's members go from step to step together, share work out without gaps, and pass failures on.
#include "base/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/thread_count.h"

namespace kvlab {
namespace {

using testing::ThreadCount;

TEST(Team, StepsAreInOrderForAll) {
  for (const int count : {1, 2, 3, 5}) {
    const ThreadCount threads(count);
    constexpr int kSteps = 60;
    std::vector<std::atomic<int>> done(kSteps);
    std::atomic<int> too_early{0}, too_late{0};
    Team::run([&](Team::Member& me) {
      for (int step = 0; step < kSteps; ++step) {
        me.step([&] {
          if (step > 0) too_early += done[step - 1] != me.threads();
          if (step + 1 < kSteps) too_late += done[step + 1] != 0;
          ++done[step];
        });
        too_early += done[step] != me.threads();
      }
    });
    EXPECT_EQ(too_early, 0) << "a step began before the last was over, of " << count << " members";
    EXPECT_EQ(too_late, 0);
    for (const auto& members : done) EXPECT_EQ(members, count);
  }
}

TEST(Team, WhatAStepWroteTheNextReads) {
  const ThreadCount threads(3);
  std::vector<int64_t> values(3, 1);  // plain memory: the steps alone keep readers and writers apart
  Team::run([&](Team::Member& me) {
    int64_t sum = 0;
    for (int step = 0; step < 30; ++step) {
      me.step([&] {
        sum = 0;
        for (const int64_t value : values) sum += value;
      });
      me.step([&] { values[me.thread()] = sum % 1000 + me.thread(); });
    }
  });
  std::vector<int64_t> wanted(3, 1);
  for (int step = 0; step < 30; ++step) {
    const int64_t sum = wanted[0] + wanted[1] + wanted[2];
    for (int t = 0; t < 3; ++t) wanted[t] = sum % 1000 + t;
  }
  EXPECT_EQ(values, wanted);
}

TEST(Team, FailuresComeOutAndEndTheWork) {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    const int count = 1 + static_cast<int>(random() % 4);
    const ThreadCount threads(count);
    const int bad_step = static_cast<int>(random() % 10), bad_member = static_cast<int>(random()) & 3;
    const bool all_fail = round % 4 == 0;
    std::atomic<int> later{0};
    try {
      Team::run([&](Team::Member& me) {
        for (int step = 0; step < 10; ++step) {
          me.step([&] {
            later += step > bad_step;
            if (step == bad_step && (all_fail || me.thread() == bad_member % count))
              throw std::runtime_error("no");
          });
        }
      });
      ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "no");
    }
    EXPECT_EQ(later, 0) << "work after the step that failed";
  }
}

TEST(Team, SharesCoverEverythingOnce) {
  for (const int members : {1, 2, 3, 4, 7}) {
    const ThreadCount threads(members);
    for (const int count : {0, 1, 2, 3, 5, 16, 63, 64, 1000, 2147483647}) {
      std::vector<std::pair<int, int>> shares(members);
      Team::run([&](Team::Member& me) {
        ASSERT_EQ(me.threads(), members);
        shares[me.thread()] = {me.first_of(count), me.last_of(count)};
      });
      int next = 0;
      for (const auto& [first, last] : shares) {
        EXPECT_EQ(first, next);
        EXPECT_GE(last, first);
        EXPECT_LE(last - first, (count - 1) / members + 1) << "shares are even";
        next = last;
      }
      EXPECT_EQ(next, count);
    }
  }
}

// Within a parallel loop each thread is a team of its own.
TEST(Team, WorksWithinParallelWork) {
  const ThreadCount threads(3);
  std::atomic<int> sum{0};
  parallel_tasks(8, [&](int task, int) {
    Team::run([&](Team::Member& me) { me.step([&] { sum += me.last_of(task) - me.first_of(task); }); });
  });
  EXPECT_EQ(sum, 28);
}

}  // namespace
}  // namespace kvlab
