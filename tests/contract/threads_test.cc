// The number of threads changes no bit of what a session gives or counts: of long extends, which go through
// the pipeline, of short ones, which all threads share, and of what the output head says about them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "contract/harness.h"
#include "engine/scoring.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;
using testing::cache_options;
using testing::method_of;
using testing::random_tokens;
using testing::ThreadCount;
using testing::tiny_model;
using testing::tiny_shape;

// All that can be told of a run.
struct Told {
  std::vector<float> hidden, losses, logits;
  std::vector<int32_t> likely;
  std::vector<std::vector<int32_t>> live;
  std::vector<std::vector<int32_t>> evict_at;
  std::vector<int64_t> bytes, evicted_at;

  void see(const Model& model, const Session& session, const HiddenStates& states,
           std::span<const int32_t> targets) {
    hidden.insert(hidden.end(), states.values.data(), states.row(states.rows));
    const std::vector<float> nll = token_losses(model, states, targets);
    losses.insert(losses.end(), nll.begin(), nll.end());
    const std::vector<float> next = next_logits(model, states, states.rows - 1);
    logits.insert(logits.end(), next.begin(), next.end());
    const std::vector<int32_t> tokens = most_likely(model, states);
    likely.insert(likely.end(), tokens.begin(), tokens.end());
    const CacheBytes now = session.cache().bytes();
    for (const int64_t part : {now.payload, now.positions, now.scores, now.slack}) bytes.push_back(part);
  }
  void finish(const Session& session) {
    live = testing::live_entries(session.cache());
    evict_at = session.cache().lifetimes().evict_at;
    evicted_at = session.cache().evicted_at();
    bytes.push_back(session.cache().peak_bytes());
    bytes.push_back(session.cache().evictions().evictions);
    bytes.push_back(session.cache().evictions().forced);
  }
};

// Long extends, short ones of 1 to 16 tokens, and the end of a context after the first.
Told told_by(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Method>& method,
             DType type) {
  const std::vector<int32_t> tokens = random_tokens(260, 91);
  Session session(model, method, cache_options(type));
  Told told;
  size_t at = 0;
  for (const size_t count : {100, 1, 1, 9, 16, 17, 1, 90}) {
    const HiddenStates states = session.extend(std::span(tokens).subspan(at, count));
    told.see(*model, session, states, std::span(tokens).subspan(at + 1, count));
    if (at == 0 && method->spec.needs_context()) session.end_context();
    at += count;
  }
  told.finish(session);
  return told;
}

void expect_same(const Told& one, const Told& more) {
  EXPECT_EQ(one.hidden, more.hidden);
  EXPECT_EQ(one.losses, more.losses);
  EXPECT_EQ(one.logits, more.logits);
  EXPECT_EQ(one.likely, more.likely);
  EXPECT_EQ(one.live, more.live);
  EXPECT_EQ(one.evict_at, more.evict_at);
  EXPECT_EQ(one.evicted_at, more.evicted_at);
  EXPECT_EQ(one.bytes, more.bytes);
}

void expect_no_say(const std::shared_ptr<const Model>& model, const std::vector<std::string>& recipes,
                   DType type) {
  for (const std::string& recipe : recipes) {
    const auto method = method_of(recipe);
    Told one;
    {
      const ThreadCount threads(1);
      one = told_by(model, method, type);
    }
    for (const int count : {2, 3}) {
      SCOPED_TRACE(fmt::format("{}, {} threads", recipe, count));
      const ThreadCount threads(count);
      expect_same(one, told_by(model, method, type));
    }
    if (::testing::Test::HasFailure()) return;
  }
}

std::vector<std::string> all_recipes() {
  std::vector<std::string> recipes = all_streaming_recipes();
  for (const std::string& recipe : all_context_recipes(0.3)) recipes.push_back(recipe);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  recipes.push_back("none");
  return recipes;
}

TEST(Threads, HaveNoSay) {
  expect_no_say(tiny_model(), all_recipes(), DType::kF32);
}

// One recipe of each way of attending.
const std::vector<std::string> kOfEachKind = {"none",
                                              "knorm(size=40,window=8)",
                                              "h2o(keep=0.3)",
                                              "tova(size=24)",
                                              "expected_attention(size=40,every=7)",
                                              "snapkv(keep=0.4,every=20)",
                                              "two_phase(context=tova(keep=0.4),decode=knorm(size=24))"};

TEST(Threads, HaveNoSayInBf16) {
  expect_no_say(tiny_model(), kOfEachKind, DType::kBF16);
  if (!cpu_has_bf16_dot()) GTEST_SKIP() << "this processor has no bf16 products; the cache alone was bf16";
  expect_no_say(tiny_model(DType::kBF16), kOfEachKind, DType::kBF16);
}

// Several sessions in one pipeline: who takes which piece when is chance, and does not matter.
TEST(Threads, HaveNoSayInBatches) {
  const std::vector<int> lengths = {70, 1, 33, 150, 5, 64, 20};
  std::vector<std::vector<int32_t>> tokens;
  for (const int length : lengths) tokens.push_back(random_tokens(length, 92 + tokens.size()));
  const std::vector<std::span<const int32_t>> spans(tokens.begin(), tokens.end());
  std::vector<std::vector<Told>> told;  // by number of threads
  for (const int count : {1, 2, 3, 3, 4}) {
    const ThreadCount threads(count);
    std::vector<Session> sessions;
    for (const std::string& recipe : kOfEachKind)
      sessions.emplace_back(tiny_model(), method_of(recipe), cache_options());
    std::vector<Session*> pointers;
    for (Session& session : sessions) pointers.push_back(&session);
    const std::vector<HiddenStates> states = Session::extend_together(pointers, spans);
    told.emplace_back(sessions.size());
    for (size_t s = 0; s < sessions.size(); ++s) {
      told.back()[s].see(*tiny_model(), sessions[s], states[s], tokens[s]);
      told.back()[s].finish(sessions[s]);
    }
  }
  for (size_t t = 1; t < told.size(); ++t) {
    for (size_t s = 0; s < kOfEachKind.size(); ++s) {
      SCOPED_TRACE(kOfEachKind[s]);
      expect_same(told[0][s], told[t][s]);
    }
  }
}

}  // namespace
}  // namespace kvlab
