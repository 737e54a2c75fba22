// Sessions extended together: each gets what its own extend() gives, whatever shares the batch with it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "contract/harness.h"
#include "kernels/narrow_gemm.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;
using testing::cache_options;
using testing::largest_difference;
using testing::live_entries;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;

class BatchTest : public testing::OneThread {};

// Every kind of recipe. Their order is mixed, so that neighbours differ in kind.
std::vector<std::string> all_recipes() {
  std::vector<std::string> recipes = all_streaming_recipes();
  for (const std::string& recipe : all_context_recipes(0.3)) recipes.push_back(recipe);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  recipes.push_back("none");
  std::mt19937 random(8);
  for (size_t i = recipes.size(); i > 1; --i) std::swap(recipes[i - 1], recipes[random() % i]);
  return recipes;
}

std::vector<float> values_of(const HiddenStates& states) {
  return {states.values.data(), states.row(states.rows)};
}

// A session with a past of `past` tokens, whose context, if its recipe has one, has just ended.
Session started(const std::string& recipe, int past, uint64_t seed, DType type = DType::kF32) {
  const auto method = method_of(recipe);
  Session session(tiny_model(), method, cache_options(type));
  session.extend(random_tokens(past, seed));
  if (method->spec.needs_context()) session.end_context();
  return session;
}

// Sessions, and twins of them that are extended one by one.
struct Batch {
  std::vector<Session> together, alone;

  void add(const std::string& recipe, int past) {
    together.push_back(started(recipe, past, 51 + together.size()));
    alone.push_back(started(recipe, past, 51 + alone.size()));
  }
  std::vector<HiddenStates> extend(std::span<const std::vector<int32_t>> tokens) {
    std::vector<Session*> sessions;
    std::vector<std::span<const int32_t>> spans;
    for (size_t s = 0; s < together.size(); ++s) {
      sessions.push_back(&together[s]);
      spans.emplace_back(tokens[s]);
    }
    return Session::extend_together(sessions, spans);
  }
};

std::vector<std::vector<int32_t>> tokens_for(const std::vector<int>& lengths, uint64_t seed) {
  std::vector<std::vector<int32_t>> tokens;
  for (const int length : lengths) tokens.push_back(random_tokens(length, seed + tokens.size()));
  return tokens;
}

// Near ties may fall the other way when a product of few rows rounds differently from one of many; then the
// two sessions part.
struct Tally {
  int sessions = 0, parted = 0;
};

void expect_same_cache(const KvCache& together, const KvCache& alone) {
  EXPECT_EQ(together.tokens(), alone.tokens());
  EXPECT_EQ(live_entries(together), live_entries(alone));
  EXPECT_EQ(together.evicted_at(), alone.evicted_at());
  EXPECT_EQ(together.evictions().evictions, alone.evictions().evictions);
  EXPECT_EQ(together.evictions().forced, alone.evictions().forced);
  const CacheBytes a = together.bytes(), b = alone.bytes();
  EXPECT_EQ(a.payload, b.payload);
  EXPECT_EQ(a.positions, b.positions);
  EXPECT_EQ(a.scores, b.scores);
  EXPECT_EQ(a.slack, b.slack);
}

void expect_same(const Session& together, const std::vector<float>& own, const Session& alone,
                 const std::vector<float>& wanted, Tally& tally) {
  ++tally.sessions;
  if (together.cache().lifetimes().evict_at != alone.cache().lifetimes().evict_at) {
    ++tally.parted;
    return;
  }
  ASSERT_EQ(own.size(), wanted.size());
  EXPECT_LT(largest_difference(own, wanted), 1e-4);
  expect_same_cache(together.cache(), alone.cache());
}

// Lengths that leave pieces of several sessions in a block of 64 rows.
TEST_F(BatchTest, RaggedSessionsEqualTheirOwnExtends) {
  static constexpr int kLengths[] = {1, 37, 130, 64, 1, 190, 5, 90, 16, 77, 0};
  static constexpr int kPasts[] = {50, 1, 77, 90};
  const std::vector<std::string> recipes = all_recipes();
  std::mt19937 random(9);
  Tally tally;
  for (size_t first = 0; first < recipes.size(); first += std::size(kLengths)) {
    Batch batch;
    std::vector<int> lengths(std::begin(kLengths), std::end(kLengths));
    for (size_t i = lengths.size(); i > 1; --i) std::swap(lengths[i - 1], lengths[random() % i]);
    const size_t count = std::min(std::size(kLengths), recipes.size() - first);
    for (size_t s = 0; s < count; ++s) batch.add(recipes[first + s], kPasts[random() % std::size(kPasts)]);
    const auto tokens = tokens_for(lengths, 300 + first);
    const std::vector<HiddenStates> states = batch.extend(tokens);
    ASSERT_EQ(states.size(), count);
    for (size_t s = 0; s < count; ++s) {
      SCOPED_TRACE(fmt::format("{}, {} tokens", recipes[first + s], lengths[s]));
      const std::vector<float> wanted = values_of(batch.alone[s].extend(tokens[s]));
      expect_same(batch.together[s], values_of(states[s]), batch.alone[s], wanted, tally);
      EXPECT_EQ(batch.together[s].cache().peak_bytes(), batch.alone[s].cache().peak_bytes());
    }
  }
  EXPECT_LE(tally.parted * 20, tally.sessions) << "near ties are rare";
}

// Batched decoding. Up to 16 rows each session's arithmetic is that of decoding alone, bit for bit.
void expect_decoding(size_t count, int steps) {
  SCOPED_TRACE(fmt::format("{} sessions", count));
  const std::vector<std::string> recipes = all_recipes();
  Tally tally;
  for (size_t first = 0; first < recipes.size(); first += count) {
    Batch batch;
    for (size_t s = 0; s < count; ++s)
      batch.add(recipes[(first + s) % recipes.size()], 20 + static_cast<int>(s) * 7);
    std::vector<std::vector<float>> own(count), wanted(count);
    for (int step = 0; step < steps; ++step) {
      const auto tokens = tokens_for(std::vector<int>(count, 1), 500 + 31 * step);
      const std::vector<HiddenStates> states = batch.extend(tokens);
      for (size_t s = 0; s < count; ++s) {
        const std::vector<float> row = values_of(states[s]);
        own[s].insert(own[s].end(), row.begin(), row.end());
        const std::vector<float> alone = values_of(batch.alone[s].extend(tokens[s]));
        wanted[s].insert(wanted[s].end(), alone.begin(), alone.end());
      }
    }
    for (size_t s = 0; s < count; ++s) {
      SCOPED_TRACE(recipes[(first + s) % recipes.size()]);
      expect_same(batch.together[s], own[s], batch.alone[s], wanted[s], tally);
      EXPECT_EQ(batch.together[s].cache().peak_bytes(), batch.alone[s].cache().peak_bytes());
      if (count <= kNarrowRows) {
        EXPECT_EQ(own[s], wanted[s]) << "bit for bit";
      }
    }
  }
  EXPECT_LE(tally.parted * 20, tally.sessions) << "near ties are rare";
}

TEST_F(BatchTest, DecodingTogetherEqualsDecodingAlone) {
  expect_decoding(7, 9);
  expect_decoding(16, 9);
}

TEST_F(BatchTest, MoreSessionsThanTheNarrowPathTakesDecodeTheSame) {
  expect_decoding(17, 9);
  expect_decoding(20, 9);
}

// A few rows of several sessions, some of them with more than one.
TEST_F(BatchTest, FewRowsOfSeveralSessions) {
  const std::vector<std::string> recipes = all_recipes();
  Tally tally;
  for (size_t first = 0; first + 4 <= recipes.size(); first += 4) {
    Batch batch;
    for (size_t s = 0; s < 4; ++s) batch.add(recipes[first + s], 60 + static_cast<int>(s));
    const std::vector<int> lengths = {3, 1, 7, 5};
    const auto tokens = tokens_for(lengths, 700 + first);
    const std::vector<HiddenStates> states = batch.extend(tokens);
    for (size_t s = 0; s < 4; ++s) {
      SCOPED_TRACE(recipes[first + s]);
      const std::vector<float> own = values_of(states[s]);
      const std::vector<float> wanted = values_of(batch.alone[s].extend(tokens[s]));
      expect_same(batch.together[s], own, batch.alone[s], wanted, tally);
      EXPECT_EQ(own, wanted) << "bit for bit";
      EXPECT_EQ(batch.together[s].cache().peak_bytes(), batch.alone[s].cache().peak_bytes());
    }
  }
  EXPECT_EQ(tally.parted, 0);
}

// Forks share pages and lists until one of them changes them, which now happens side by side.
TEST_F(BatchTest, ForksGoOnTogether) {
  for (const int count : {1, 40}) {
    for (const std::string& recipe : all_recipes()) {
      SCOPED_TRACE(fmt::format("{}, {} tokens", recipe, count));
      const testing::ThreadCount threads(2);
      Session parent = started(recipe, 77, 41);
      std::vector<Session> forks;
      for (int i = 0; i < 3; ++i) forks.push_back(parent.fork());
      const auto tokens = tokens_for(std::vector<int>(4, count), 800);
      std::vector<Session*> sessions = {&forks[0], &parent, &forks[1], &forks[2]};
      const std::vector<std::span<const int32_t>> spans(tokens.begin(), tokens.end());
      Session::extend_together(sessions, spans);
      int parted = 0;
      for (size_t s = 0; s < 4; ++s) {
        Session alone = started(recipe, 77, 41);
        alone.extend(tokens[s]);
        if (alone.cache().lifetimes().evict_at == sessions[s]->cache().lifetimes().evict_at) {
          expect_same_cache(sessions[s]->cache(), alone.cache());
        } else {
          ++parted;
        }
      }
      EXPECT_LE(parted, 1) << "near ties are rare";
    }
  }
}

// More rows than are in work at a time: every round takes a share of each session.
TEST_F(BatchTest, LongInputsAreCutIntoRounds) {
  const std::vector<std::string> recipes = {"knorm(size=40)", "none", "h2o(size=32)",
                                            "expected_attention(size=40,every=50)"};
  Batch batch;
  for (const std::string& recipe : recipes) batch.add(recipe, 10);
  const auto tokens = tokens_for({700, 1, 900, 600}, 900);
  const std::vector<HiddenStates> states = batch.extend(tokens);
  Tally tally;
  for (size_t s = 0; s < recipes.size(); ++s) {
    SCOPED_TRACE(recipes[s]);
    const std::vector<float> wanted = values_of(batch.alone[s].extend(tokens[s]));
    expect_same(batch.together[s], values_of(states[s]), batch.alone[s], wanted, tally);
  }
  EXPECT_LE(tally.parted, 1);
}

// Sees every layer of one session.
class LayerCount : public LayerTap {
 public:
  void see(const LayerBlock& block) override {
    EXPECT_EQ(block.layer, static_cast<int>(rows.size()) % testing::tiny_shape().layers);
    rows.push_back(block.rows);
  }
  std::vector<int> rows;
};

TEST_F(BatchTest, OneWhoLooksOnSeesItsSessionAlone) {
  for (const int others : {1, 90}) {
    const auto tap = std::make_shared<LayerCount>();
    CacheOptions options = cache_options();
    options.tap = tap;
    Session watched(tiny_model(), method_of("h2o(size=24)"), options);
    Session other(tiny_model(), method_of("knorm(size=24)"), cache_options());
    Session alone(tiny_model(), method_of("h2o(size=24)"), cache_options());
    const std::vector<int32_t> tokens = random_tokens(70, 61), more = random_tokens(others, 62);
    Session* const sessions[] = {&other, &watched};
    const std::span<const int32_t> spans[] = {more, tokens};
    const std::vector<HiddenStates> states = Session::extend_together(sessions, spans);
    EXPECT_EQ(tap->rows, std::vector<int>(testing::tiny_shape().layers, 70));
    EXPECT_LT(largest_difference(values_of(states[1]), values_of(alone.extend(tokens))), 1e-4);
    EXPECT_EQ(live_entries(watched.cache()), live_entries(alone.cache()));
  }
}

}  // namespace
}  // namespace kvlab
