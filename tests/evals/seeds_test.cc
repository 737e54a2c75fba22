#include "evals/seeds.h"

#include <gtest/gtest.h>

namespace kvlab {
namespace {

TEST(SeedRuns, FiveWhereChanceDecides) {
  RecipeDefaults defaults;
  defaults.seed = 7;
  const std::vector<MethodSpec> runs =
      seed_runs(resolve_recipe("random(keep=0.25,window=3)", defaults), kSeeds);
  ASSERT_EQ(runs.size(), 5u);
  for (size_t s = 0; s < runs.size(); ++s) {
    EXPECT_EQ(runs[s].seed, 7 + s);
    EXPECT_EQ(runs[s].display, runs[0].display);
    EXPECT_EQ(runs[s].policy.value, 0.25);
  }
}

TEST(SeedRuns, OneWhereItDoesNot) {
  for (const char* recipe : {"knorm", "random(seed=3)", "random(keep=1)", "random(threshold=1)", "none"}) {
    const std::vector<MethodSpec> runs = seed_runs(resolve_recipe(recipe, {}), kSeeds);
    ASSERT_EQ(runs.size(), 1u) << recipe;
    EXPECT_EQ(runs[0].recipe, resolve_recipe(recipe, {}).recipe);
  }
  EXPECT_EQ(seed_runs(resolve_recipe("random", {}), 1).size(), 1u);
}

}  // namespace
}  // namespace kvlab
