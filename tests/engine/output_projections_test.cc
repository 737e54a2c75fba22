// A session hands its model's output projections to the methods that want them.
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::tiny_model;

// Writes down what it was given.
class Witness : public Wrapper {
 public:
  bool wants_output() const override { return true; }
  void adjust(ActingHeads& unit) const override {
    const std::lock_guard lock(mutex);
    layers.insert(unit.layer);
    const std::vector<float> own = tiny_model()->output_projection(unit.layer);
    equal = equal && std::equal(unit.output.begin(), unit.output.end(), own.begin(), own.end());
  }

  mutable std::mutex mutex;
  mutable std::set<int> layers;
  mutable bool equal = true;
};

TEST(SessionOutputProjections, AreTheModels) {
  const auto witness = std::make_shared<Witness>();
  auto method = std::make_shared<Method>();
  const auto plain = testing::method_of("knorm(keep=0.5,at=context)");
  method->spec = plain->spec;
  method->shape = plain->shape;
  method->scorer = plain->spec.scorer->create({plain->shape, plain->spec.values, 0, "", false});
  method->wrappers.push_back(witness);
  Session session(tiny_model(), method, testing::cache_options());
  session.extend(testing::random_tokens(40, 1));
  session.end_context();
  EXPECT_EQ(static_cast<int>(witness->layers.size()), plain->shape.layers);
  EXPECT_TRUE(witness->equal);
}

TEST(SessionOutputProjections, AreMadeOnceAndKept) {
  const std::span<const float> first = tiny_model()->kept_output_projection(1);
  EXPECT_EQ(first.data(), tiny_model()->kept_output_projection(1).data());
  EXPECT_EQ(std::vector<float>(first.begin(), first.end()), tiny_model()->output_projection(1));
}

}  // namespace
}  // namespace kvlab
