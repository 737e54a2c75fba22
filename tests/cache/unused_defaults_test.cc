#include "cache/unused_defaults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> unused(const std::vector<std::string>& recipes, const RecipeDefaults& defaults) {
  std::vector<MethodSpec> specs;
  for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, defaults));
  return unused_defaults(specs, defaults);
}

TEST(UnusedDefaults, ThresholdOfAMethodThatIsNotThere) {
  RecipeDefaults defaults;
  defaults.kvzap_threshold = -5;
  EXPECT_THAT(unused({"kvzap", "h2o"}, defaults), IsEmpty());
  EXPECT_THAT(unused({"none", "h2o"}, defaults),
              ElementsAre(AllOf(HasSubstr("--threshold -5"), HasSubstr("no kvzap is among the methods"))));
  EXPECT_THAT(unused({"kvzap(keep=0.5)"}, defaults), ElementsAre(HasSubstr("has another budget")));
}

TEST(UnusedDefaults, EachEntryOfTheListsByMethod) {
  RecipeDefaults defaults;
  defaults.thresholds = {{"knorm", -3}, {"random", 0.5}};
  defaults.densities = {{"h2o", 0.25}, {"tova", 0.25}};
  EXPECT_THAT(unused({"knorm", "h2o"}, defaults),
              ElementsAre(AllOf(HasSubstr("--thresholds"), HasSubstr("random 0.5")),
                          AllOf(HasSubstr("--densities"), HasSubstr("tova 0.25"))));
  EXPECT_THAT(unused({"knorm(size=200)", "random", "h2o", "tova"}, defaults),
              ElementsAre(HasSubstr("knorm -3")));
}

TEST(UnusedDefaults, ScorerModel) {
  RecipeDefaults defaults;
  defaults.scorer_model = "some/folder";
  EXPECT_THAT(unused({"kvzap"}, defaults), IsEmpty());
  EXPECT_THAT(unused({"kvzap(model=other)", "h2o"}, defaults), ElementsAre(HasSubstr("some/folder")));
}

}  // namespace
}  // namespace kvlab
