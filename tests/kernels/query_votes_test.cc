#include "kernels/query_votes.h"

#include <cmath>
#include <vector>

#include "kernels/every_level.h"

namespace kvlab {
namespace {

struct Case {
  int count, head_dim;
  int64_t keys;
};

// Query i sees a few more keys than the one before it; the first of all see none.
std::vector<int32_t> growing_views(const Case& c) {
  std::vector<int32_t> visible(c.count);
  for (int i = 0; i < c.count; ++i) visible[i] = static_cast<int32_t>(c.keys * (i / 3) / ((c.count + 2) / 3));
  return visible;
}

void expect_reference(const Case& c, const std::vector<int32_t>& visible, Buffer<float>& scratch) {
  const auto q = random_floats(static_cast<size_t>(c.count) * c.head_dim, 1);
  const auto k = random_floats(static_cast<size_t>(c.keys) * c.head_dim, 2);
  const VotingQueries queries = {q.data(), visible.data(), c.count};
  const float scale = 0.7f;
  for (const int64_t voted : {int64_t{0}, c.keys / 2, c.keys}) {
    std::vector<double> expected(voted), got(voted, -1.0);
    reference::query_votes(queries, k.data(), c.keys, c.head_dim, scale, voted, expected.data());
    query_votes(queries, k.data(), c.keys, c.head_dim, scale, voted, scratch, got.data());
    for (int64_t j = 0; j < voted; ++j)
      ASSERT_NEAR(got[j], expected[j], 1e-6 * c.count) << c.count << " " << c.keys << " " << j;
  }
}

TEST(QueryVotes, EqualTheReferenceAtEveryLevel) {
  for_each_level([] {
    Buffer<float> scratch;
    for (const Case& c :
         {Case{1, 4, 1}, {2, 5, 3}, {9, 13, 11}, {33, 64, 12}, {70, 64, 300}, {192, 80, 157}}) {
      expect_reference(c, growing_views(c), scratch);
      expect_reference(c, std::vector<int32_t>(c.count, static_cast<int32_t>(c.keys)), scratch);
    }
  });
}

TEST(QueryVotes, EveryQueryThatSeesAKeyGivesOneVote) {
  const Case c = {40, 16, 50};
  const auto q = random_floats(static_cast<size_t>(c.count) * c.head_dim, 3);
  auto k = random_floats(static_cast<size_t>(c.keys) * c.head_dim, 4);
  for (float& x : k) x *= 300;  // nearly all the weight on one key
  const std::vector<int32_t> visible = growing_views(c);
  int seeing = 0;
  for (const int32_t v : visible) seeing += v > 0;
  ASSERT_LT(seeing, c.count);
  for_each_level([&] {
    Buffer<float> scratch;
    std::vector<double> votes(c.keys);
    query_votes({q.data(), visible.data(), c.count}, k.data(), c.keys, c.head_dim, 1.0f, c.keys, scratch,
                votes.data());
    double sum = 0;
    for (const double vote : votes) sum += vote;
    EXPECT_NEAR(sum, seeing, 1e-4);
  });
}

TEST(QueryPeaks, EqualTheReferenceHoweverTheQueriesAreCut) {
  for_each_level([] {
    Buffer<float> scratch;
    for (const Case& c : {Case{1, 4, 1}, {9, 13, 11}, {33, 64, 12}, {70, 64, 300}}) {
      const auto q = random_floats(static_cast<size_t>(c.count) * c.head_dim, 5);
      const auto k = random_floats(static_cast<size_t>(c.keys) * c.head_dim, 6);
      auto weights = random_floats(static_cast<size_t>(c.count), 7);
      for (float& weight : weights) weight = std::abs(weight);
      const std::vector<int32_t> visible = growing_views(c);
      const int64_t first = c.keys / 4, last = c.keys - c.keys / 5;
      std::vector<float> expected(last - first, 0.01f), got = expected, cut = expected;
      reference::query_peaks({q.data(), visible.data(), c.count}, weights.data(), k.data(), c.head_dim, 0.7f,
                             first, last, expected.data());
      query_peaks({q.data(), visible.data(), c.count}, weights.data(), k.data(), c.head_dim, 0.7f, first,
                  last, scratch, got.data());
      for (int i = 0; i < c.count; ++i)
        query_peaks({q.data() + int64_t{1} * i * c.head_dim, visible.data() + i, 1}, weights.data() + i,
                    k.data(), c.head_dim, 0.7f, first, last, scratch, cut.data());
      for (size_t j = 0; j < got.size(); ++j) EXPECT_NEAR(got[j], expected[j], 2e-6 * expected[j]) << j;
      EXPECT_EQ(got, cut);
    }
  });
}

}  // namespace
}  // namespace kvlab
