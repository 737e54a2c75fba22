// What the roofline computes without a clock.
#include "bench/roofline/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace kvlab::roofline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig small_config() {
  ModelConfig config;
  config.layers = 2;
  config.hidden = 8;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 2;
  config.intermediate = 16;
  config.vocab = 100;
  return config;
}

TEST(RooflineFigures, CpuShareIsPerThreadAndOverAllRuns) {
  const Samples samples{2, {{1.0, 2.0}, {3.0, 4.0}}};
  EXPECT_DOUBLE_EQ(samples.cpu_share(), 0.75);
  EXPECT_FALSE(samples.clean());
  EXPECT_DOUBLE_EQ(samples.best_seconds(), 1);
  EXPECT_DOUBLE_EQ(samples.worst_seconds(), 3);
  EXPECT_DOUBLE_EQ(samples.median_seconds(), 2);
}

TEST(RooflineFigures, CleanFromNinetySixHundredths) {
  EXPECT_TRUE((Samples{1, {{1.0, 0.96}}}.clean()));
  EXPECT_FALSE((Samples{1, {{1.0, 0.9599}}}.clean()));
  EXPECT_FALSE((Samples{2, {{1.0, 1.9}}}.clean()));
  EXPECT_FALSE((Samples{1, {}}.clean()));
}

TEST(RooflineFigures, Median) {
  EXPECT_EQ(median({5, 1, 3}), 3);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({7}), 7);
}

TEST(RooflineFigures, EntriesSeenAreThoseNotEvictedYet) {
  const ModelConfig config = small_config();  // 4 layer-head pairs
  EXPECT_EQ(entries_seen(config, 4, {}), 4 * (1 + 2 + 3 + 4));
  // Query 2 misses one entry, query 3 three; what query 4 would miss does not count.
  EXPECT_EQ(entries_seen(config, 4, {0, 0, 1, 2, 9}), 40 - 1 - 3);
}

TEST(RooflineFigures, AttentionCountsEveryQueryHeadOfAnEntry) {
  // Two query heads a KV head, two products, two operations each, head_dim 2.
  EXPECT_EQ(attention_flops(small_config(), 10), 2 * 2 * 2 * 2 * 10);
}

TEST(RooflineFigures, Lengths) {
  EXPECT_THAT(parse_lengths("--lengths", "1024,4096", 2), ElementsAre(1024, 4096));
  EXPECT_THAT(parse_lengths("--lengths", "2", 2), ElementsAre(2));
  for (const char* wrong :
       {"", ",", "1024,", "1024,,2", "1", "-5", "4k", "1024 4096", "99999999999999999999"}) {
    try {
      parse_lengths("--lengths", wrong, 2);
      ADD_FAILURE() << wrong;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string("--lengths ") + wrong));
    }
  }
}

TEST(RooflineFigures, Percent) {
  EXPECT_EQ(percent(0.87349), "87.3%");
  EXPECT_EQ(percent(1.2), "120.0%");
}

}  // namespace
}  // namespace kvlab::roofline
