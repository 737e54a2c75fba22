// Losses and distances against plain sums over the whole vocabulary.
#include "engine/scoring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;

class ScoringTest : public testing::OneThread {};
class SessionTest : public testing::OneThread {};

std::vector<double> log_probabilities(const float* hidden) {
  const OutputHead& head = tiny_model()->head();
  std::vector<double> result;
  std::vector<float> logits(OutputHead::kRows * OutputHead::kSlab);
  GemmScratch scratch;
  for (int slab = 0; slab < head.slabs(); ++slab) {
    head.logits(slab, hidden, 1, logits.data(), scratch);
    result.insert(result.end(), logits.begin(), logits.begin() + head.slab_size(slab));
  }
  const double largest = *std::max_element(result.begin(), result.end());
  double sum = 0;
  for (const double logit : result) sum += std::exp(logit - largest);
  for (double& logit : result) logit -= largest + std::log(sum);
  return result;
}

HiddenStates states_of(const std::string& recipe, const std::vector<int32_t>& tokens) {
  Session session(tiny_model(), method_of(recipe), cache_options());
  return session.extend(tokens);
}

TEST_F(ScoringTest, LossesEqualPlainLogProbabilities) {
  const std::vector<int32_t> tokens = random_tokens(90, 71);  // more than one block of positions
  const HiddenStates states = states_of("none", tokens);
  const auto targets = std::span(tokens).subspan(1);
  const std::vector<float> nll = token_losses(*tiny_model(), states, targets);
  ASSERT_EQ(nll.size(), 89u);
  for (size_t r = 0; r < nll.size(); ++r) {
    const std::vector<double> log_p = log_probabilities(states.row(static_cast<int64_t>(r)));
    EXPECT_NEAR(nll[r], -log_p[targets[r]], 1e-5);
    EXPECT_EQ(most_likely(*tiny_model(), states, static_cast<int64_t>(r)),
              std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
  }
}

TEST_F(ScoringTest, DistancesEqualPlainSums) {
  const std::vector<int32_t> tokens = random_tokens(90, 72);
  const HiddenStates base = states_of("none", tokens), own = states_of("knorm(keep=0.1,window=2)", tokens);
  const Fidelity fidelity = compare_states(*tiny_model(), base, own, 90);
  int same = 0;
  for (int64_t r = 0; r < 90; ++r) {
    const std::vector<double> p = log_probabilities(base.row(r)), q = log_probabilities(own.row(r));
    double kl = 0;
    for (size_t v = 0; v < p.size(); ++v) kl += std::exp(p[v]) * (p[v] - q[v]);
    EXPECT_NEAR(fidelity.kl[r], kl, 1e-5);
    const bool agree =
        std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    EXPECT_EQ(fidelity.same_top[r], agree);
    same += agree;
  }
  EXPECT_GT(same, 0);
  EXPECT_LT(same, 90);
  const Fidelity itself = compare_states(*tiny_model(), base, base, 90);
  for (const float kl : itself.kl) EXPECT_NEAR(kl, 0, 1e-9);
}

// An extend longer than a block is cut, and nobody can tell.
TEST_F(SessionTest, LongExtendsAreCut) {
  const int count = Session::kMaxBlock + 30;
  const std::vector<int32_t> tokens = random_tokens(count, 73);
  const auto method = method_of("knorm(size=40)");
  Session whole(tiny_model(), method, cache_options()), cut(tiny_model(), method, cache_options());
  const HiddenStates all = whole.extend(tokens);
  ASSERT_EQ(all.rows, count);
  cut.extend(std::span(tokens).first(Session::kMaxBlock));
  const HiddenStates last = cut.extend(std::span(tokens).subspan(Session::kMaxBlock));
  for (int64_t r = 0; r < last.rows; ++r) {
    for (int i = 0; i < last.size; ++i) ASSERT_EQ(last.row(r)[i], all.row(Session::kMaxBlock + r)[i]);
  }
  EXPECT_EQ(whole.tokens(), count);
  EXPECT_EQ(testing::live_entries(whole.cache()), testing::live_entries(cut.cache()));
}

TEST_F(SessionTest, AnEmptyExtendChangesNothing) {
  Session session(tiny_model(), method_of("h2o(size=10)"), cache_options());
  EXPECT_EQ(session.extend({}).rows, 0);
  session.extend(random_tokens(20, 74));
  const auto before = testing::live_entries(session.cache());
  EXPECT_EQ(session.extend({}).rows, 0);
  EXPECT_EQ(session.tokens(), 20);
  EXPECT_EQ(testing::live_entries(session.cache()), before);
}

}  // namespace
}  // namespace kvlab
