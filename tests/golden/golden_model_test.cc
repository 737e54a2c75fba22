// The weights of the architectures' goldens, which C++ makes as Python made them.
#include "support/golden_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): helpers of the tests

TEST(GoldenModel, TheGeneratorMakesPythonsNumbers) {
  const GoldenTensor tensor{"model.layers.0.self_attn.q_proj.weight", {2, 3}, 0.5, 0.25};
  const NamedTensor made = make_golden_tensor(7, tensor);
  const std::vector<float> expected = {0.241933838f, 0.0668939278f, 0.460974604f,
                                       0.451643288f, 0.523785293f,  0.677865982f};
  EXPECT_EQ(made.shape, tensor.shape);
  ASSERT_EQ(made.values.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(made.values[i], expected[i], 1e-7) << i;
}

TEST(GoldenModel, ValuesDependOnSeedAndName) {
  const auto first = [](uint64_t seed, const std::string& name) {
    return make_golden_tensor(seed, {name, {1}, 0, 1}).values[0];
  };
  EXPECT_NE(first(1, "a"), first(2, "a"));
  EXPECT_NE(first(1, "a"), first(1, "b"));
}

TEST(GoldenModel, EveryGoldenHasTheValuesThatPythonSaw) {
  const std::vector<std::string> names = golden_names();
  ASSERT_FALSE(names.empty());
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const GoldenModel golden = load_golden(name);
    EXPECT_EQ(golden.name, name);
    EXPECT_TRUE(std::is_sorted(golden.tensors.begin(), golden.tensors.end(),
                               [](const auto& a, const auto& b) { return a.name < b.name; }));
    EXPECT_EQ(golden.first_values.size(), 2u);
    for (const GoldenTensor& tensor : golden.tensors) {
      const auto expected = golden.first_values.find(tensor.name);
      if (expected == golden.first_values.end()) continue;
      const NamedTensor made = make_golden_tensor(golden.seed, tensor);
      for (size_t i = 0; i < expected->second.size(); ++i) {
        EXPECT_NEAR(made.values[i], expected->second[i], 1e-7) << tensor.name << " " << i;
      }
    }
  }
}

TEST(GoldenModel, AnUnknownNameIsAnError) {
  EXPECT_THROW(load_golden("no-such-model"), std::runtime_error);
}

}  // namespace
}  // namespace kvlab
