// What a scorer carries for an entry stays with the entry when others go and slots change places, through
// splits and forks. The law alone cannot see a mix-up that is the same in every split.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::cache_options;
using testing::random_blocks;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

class SlotStateTest : public testing::OneThread {};

// Counts the queries that saw an entry, which must be its age; evicts by chance, so that holes lie anywhere.
class AgeScorer : public WeightsScorer {
 public:
  explicit AgeScorer(bool joint) : joint_(joint) {}
  int state_width() const override { return 2; }
  bool joint_heads() const override { return joint_; }
  void observe(const WeightsView& view) const override {
    if (view.head > 0) return;  // heads that decide jointly share the state
    for (int slot = 0; slot < view.live; ++slot) {
      view.state[slot] += 1;
      view.state[view.state_stride + slot] += 3;
    }
  }
  void score(const float* state, int64_t stride, std::span<const int32_t> positions, int64_t n,
             float* out) const override {
    for (size_t slot = 0; slot < positions.size(); ++slot) {
      const auto age = static_cast<float>(n - positions[slot]);
      EXPECT_EQ(state[slot], age) << "position " << positions[slot] << " at n " << n;
      EXPECT_EQ(state[stride + static_cast<int64_t>(slot)], 3 * age);
      out[slot] = static_cast<float>(mix64(static_cast<uint64_t>(positions[slot])) % 1000);
    }
  }

 private:
  bool joint_;
};

std::shared_ptr<const Method> age_method(bool joint, const std::string& budget) {
  static const ScorerInfo info = [] {
    ScorerInfo age;
    age.name = "age";
    age.kind = ScorerKind::kWeights;
    return age;
  }();
  auto method = std::make_shared<Method>();
  method->spec = resolve_recipe("h2o(" + budget + ")", {});
  method->spec.scorer = &info;
  method->shape = tiny_shape();
  method->scorer = std::make_unique<AgeScorer>(joint);
  return method;
}

TEST_F(SlotStateTest, StateMovesWithItsEntry) {
  const std::vector<int32_t> tokens = random_tokens(150, 81);
  std::mt19937 random(3);
  for (const bool joint : {false, true}) {
    for (const std::string budget :
         {"keep=0.3,window=4", "size=20,window=4,every=7", "threshold=400,window=4"}) {
      for (const int largest : {1, 9, 150}) {
        SCOPED_TRACE(fmt::format("{}, joint {}, blocks up to {}", budget, joint, largest));
        Session session(tiny_model(), age_method(joint, budget), cache_options());
        int64_t at = 0;
        for (const int count : random_blocks(150, largest, random)) {
          Session stray = session.fork();
          stray.extend(std::span(tokens).first(3));
          session.extend(std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(count)));
          at += count;
        }
        EXPECT_GT(session.cache().evictions().evictions, 100);
        if (HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace kvlab
