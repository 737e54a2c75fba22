// bytes() is what is allocated, during a run and after it, and it shrinks when entries go.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/query_memory.h"
#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;
using testing::cache_options;
using testing::context_recipes;
using testing::method_of;
using testing::random_tokens;
using testing::streaming_recipes;
using testing::tiny_model;
using testing::tiny_shape;

class BytesTest : public testing::OneThread {};

int64_t now_allocated() {
  return allocated_bytes(Account::kCache);
}

int64_t payload_of(const KvCache& cache) {
  const ModelShape& shape = cache.method().shape;
  return cache.live_entries() * 2 * shape.head_dim * static_cast<int64_t>(element_size(cache.options().type));
}

// What is carried of past queries: of a fixed size, however many entries are live.
int64_t carried_bytes(const KvCache& cache) {
  int64_t total = 0;
  for (int layer = 0; layer < cache.method().shape.layers; ++layer) {
    for (int head = 0; head < cache.method().shape.kv_heads; ++head) {
      if (const QueryMemory* queries = cache.queries(layer, head)) total += queries->bytes();
    }
  }
  return total;
}

void expect_true_bytes(const std::string& recipe, DType type) {
  SCOPED_TRACE(fmt::format("{} as {}", recipe, type == DType::kF32 ? "f32" : "bf16"));
  const auto method = method_of(recipe);
  const std::vector<int32_t> tokens = random_tokens(160, 31);
  const int64_t start = now_allocated();
  {
    Session session(tiny_model(), method, cache_options(type));
    EXPECT_EQ(now_allocated(), start) << "nothing before the first token";
    int64_t peak = 0;
    for (int64_t at = 0; at < 160; at += 20) {
      session.extend(std::span(tokens).subspan(at, 20));
      const CacheBytes bytes = session.cache().bytes();
      EXPECT_EQ(bytes.total(), now_allocated() - start) << "after " << at + 20 << " tokens";
      EXPECT_EQ(bytes.payload, payload_of(session.cache()));
      EXPECT_GE(bytes.slack, 0);
      peak = std::max(peak, bytes.total());
    }
    session.end_context();
    EXPECT_EQ(session.cache().bytes().total(), now_allocated() - start);
    session.extend(tokens);
    EXPECT_EQ(session.cache().bytes().total(), now_allocated() - start) << "after the context";
    EXPECT_GE(session.cache().peak_bytes(), peak);
  }
  EXPECT_EQ(now_allocated(), start) << "the session is gone, its bytes are not";
}

TEST_F(BytesTest, AreWhatIsAllocated) {
  std::vector<std::string> recipes = all_streaming_recipes();
  for (const std::string& recipe : all_context_recipes(0.3)) recipes.push_back(recipe);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  recipes.push_back("none");
  for (const std::string& recipe : recipes) {
    expect_true_bytes(recipe, DType::kF32);
    expect_true_bytes(recipe, DType::kBF16);
  }
}

// A cache of at most 24 entries a head is as small after 480 tokens as after 120, and far below the dense
// one.
TEST_F(BytesTest, ShrinkWhenEntriesGo) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(480, 32);
  Session dense(tiny_model(), method_of("none"), cache_options());
  dense.extend(tokens);
  for (const std::string& recipe : streaming_recipes()) {
    if (recipe.find("(size=24") == std::string::npos) continue;
    SCOPED_TRACE(recipe);
    const int64_t start = now_allocated();
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(std::span(tokens).first(119));
    const int64_t early = now_allocated() - start;
    session.extend(std::span(tokens).subspan(119));
    EXPECT_LE(now_allocated() - start, early * 3 / 2);
    EXPECT_LT(now_allocated() - start - carried_bytes(session.cache()), dense.cache().bytes().total() / 8);
  }
}

TEST_F(BytesTest, TheEndOfAContextFreesPages) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(160, 33);
  for (const std::string& recipe : context_recipes(0.1)) {
    SCOPED_TRACE(recipe);
    const int64_t start = now_allocated();
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(tokens);
    const int64_t carried = carried_bytes(session.cache()), before = now_allocated() - start - carried;
    session.end_context();
    EXPECT_LT(now_allocated() - start - carried, before / 5);
  }
}

// Up to the end of the context entries carry what both scorers need, then what the streaming one does.
TEST_F(BytesTest, TwoPhasesCarryTheContextsScoresUpToItsEnd) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(100, 36);
  struct Case {
    const char *context, *decode;
    int before, after;  // floats per entry, of both KV heads together
  };
  for (const Case& c :
       {Case{"knorm(keep=0.5)", "h2o(keep=1)", 4, 2}, Case{"h2o(keep=0.5)", "knorm(keep=1)", 4, 2},
        Case{"tova(keep=0.5)", "h2o(threshold=-1e30)", 5, 4}, Case{"none", "knorm(keep=1)", 2, 2},
        Case{"tova(keep=0.5)", "tova(keep=1)", 2, 1}}) {
    const std::string recipe = fmt::format("two_phase(context={},decode={})", c.context, c.decode);
    SCOPED_TRACE(recipe);
    Session session(tiny_model(), method_of(recipe), cache_options());
    session.extend(tokens);
    EXPECT_EQ(session.cache().bytes().scores, int64_t{100} * 3 * 4 * c.before);
    session.end_context();
    const int64_t left = std::string(c.context) == "none" ? 100 : 50;
    EXPECT_EQ(session.cache().bytes().scores, left * 3 * 4 * c.after);
  }
  Session session(tiny_model(), method_of("two_phase(context=snapkv(keep=0.5),decode=none)"),
                  cache_options());
  Session votes(tiny_model(), method_of("two_phase(context=snapkv(keep=0.5),decode=knorm(keep=1))"),
                cache_options());
  session.extend(tokens);
  votes.extend(tokens);
  EXPECT_EQ(votes.cache().bytes().scores, session.cache().bytes().scores + 100 * 3 * 2 * 4);
  votes.end_context();
  EXPECT_EQ(votes.cache().bytes().scores, 50 * 3 * 2 * 4) << "the remembered queries are gone";
}

// Forks share what neither has changed.
TEST_F(BytesTest, ForksSharePages) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(160, 34);
  const int64_t start = now_allocated();
  {
    Session session(tiny_model(), method_of("none"), cache_options());
    session.extend(tokens);
    const int64_t alone = now_allocated() - start;
    std::vector<Session> forks;
    for (int i = 0; i < 4; ++i) forks.push_back(session.fork());
    EXPECT_EQ(now_allocated() - start, alone);
    for (Session& fork : forks) fork.extend(std::span(tokens).first(1));
    EXPECT_LT(now_allocated() - start, alone * 3 / 2) << "four forks cost a page per head each";
    EXPECT_EQ(session.cache().bytes().total(), alone);
  }
  EXPECT_EQ(now_allocated(), start);
}

// Per entry: keys and values, a position once entries are missing, and what the scorer carries.
TEST_F(BytesTest, ListsWhatAnEntryCosts) {
  const std::vector<int32_t> tokens = random_tokens(100, 35);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    Session session(tiny_model(), method_of("h2o(size=32,window=8)"), cache_options(type));
    session.extend(tokens);
    const CacheBytes bytes = session.cache().bytes();
    const int64_t entries = 32 * 3 * 2;  // per head, layers, KV heads
    EXPECT_EQ(session.cache().live_entries(), entries);
    EXPECT_EQ(bytes.payload, entries * 2 * 16 * static_cast<int64_t>(element_size(type)));
    EXPECT_EQ(bytes.positions, entries * 4);
    EXPECT_EQ(bytes.scores, entries * 4);
    EXPECT_EQ(bytes.slack, 3 * 2 * 16 * 8);  // two full pages; lists have room for one entry more
  }
}

// Entries that go leave gaps, so the positions of the others are stored while all are still there.
TEST_F(BytesTest, ThePeakCountsPositionsThatEvictionsStore) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(64, 37);
  Session dense(tiny_model(), method_of("none"), cache_options());
  dense.extend(tokens);
  for (const std::string recipe : {"knorm(size=24)", "random(keep=0.3,window=8)"}) {
    SCOPED_TRACE(recipe);
    Session own(tiny_model(), method_of(recipe), cache_options());
    own.extend(tokens);
    const int64_t scores_and_positions = int64_t{64} * 3 * 2 * (4 + 4);
    EXPECT_GE(own.cache().peak_bytes(), dense.cache().bytes().total() + scores_and_positions);
    CacheOptions options = cache_options();
    options.imposed = std::make_shared<LifetimeRecord>(own.cache().lifetimes());
    Session imposed(tiny_model(), method_of("none"), options);
    imposed.extend(tokens);
    EXPECT_GE(imposed.cache().peak_bytes(), dense.cache().bytes().total() + scores_and_positions / 2);
  }
}

}  // namespace
}  // namespace kvlab
