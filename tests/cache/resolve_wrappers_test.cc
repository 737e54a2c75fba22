// Recipes with wrappers: what they stand for, how they are written out, and what is refused with which
// reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "cache/method.h"
#include "cache/recipe.h"
#include "support/damage.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;

ModelShape shape() {
  return {3, 16, 4, 2, 8, {1.0, 0.3, 0.05, 0.01}};
}

std::string refusal(const std::string& recipe, const ModelShape& model = shape()) {
  return error_text([&] { make_method(resolve_recipe(recipe, {}), model); });
}

std::vector<std::string> names(const MethodSpec& spec) {
  std::vector<std::string> result;
  for (const WrapperSpec& wrapper : spec.wrappers) result.push_back(wrapper.info->name);
  return result;
}

using Names = std::vector<std::string>;

TEST(WrapperRecipesTest, NestAndHandOnWhatTheyDoNotKnow) {
  const MethodSpec spec = resolve_recipe(
      "criticalkv(of=adakv(of=snapkv(queries=32),safeguard=0.3),epsilon=0.01,keep=0.25,sinks=2)", {});
  EXPECT_EQ(names(spec), Names({"adakv", "criticalkv"}));
  EXPECT_EQ(spec.scorer->name, "snapkv");
  EXPECT_EQ(spec.values.integer("queries"), 32);
  EXPECT_EQ(spec.wrappers[0].values.real("safeguard"), 0.3);
  EXPECT_EQ(spec.wrappers[1].values.real("epsilon"), 0.01);
  EXPECT_EQ(spec.policy.value, 0.25);
  EXPECT_EQ(spec.policy.sinks, 2);
}

TEST(WrapperRecipesTest, ANameKeepsItsWrappersAroundWhatIsGiven) {
  EXPECT_EQ(names(resolve_recipe("critical_adakv", {})), Names({"adakv", "criticalkv"}));
  const MethodSpec spec = resolve_recipe("critical_adakv(of=h2o,keep=0.25,safeguard=0.5)", {});
  EXPECT_EQ(names(spec), Names({"adakv", "criticalkv"}));
  EXPECT_EQ(spec.scorer->name, "h2o");
  EXPECT_EQ(spec.wrappers[0].values.real("safeguard"), 0.5);
  EXPECT_EQ(names(resolve_recipe("merge(of=critical_adakv(of=chunked(of=h2o)))", {})),
            Names({"chunked", "adakv", "criticalkv", "merge"}));
}

TEST(WrapperRecipesTest, SchedulesOfKvpress) {
  const MethodSpec decoding = resolve_recipe("decoding_press", {});
  EXPECT_EQ(decoding.policy.value, 2048);
  EXPECT_EQ(decoding.policy.every, 512);
  EXPECT_EQ(resolve_recipe("block_press(size=300)", {}).policy.every, 128);
}

TEST(WrapperRecipesTest, RefuseWhatCannotBeWithTheReason) {
  EXPECT_THAT(refusal("rerotate(of=knorm)"), HasSubstr("at=context"));
  EXPECT_THAT(refusal("rerotate(of=knorm,threshold=-4,at=context)"), HasSubstr("takes no threshold"));
  EXPECT_THAT(refusal("cam(of=keydiff)"),
              AllOf(HasSubstr("not attention weights"), HasSubstr("observed_attention")));
  EXPECT_THAT(refusal("merge(of=rerotate(of=knorm),at=context)"), HasSubstr("write rerotate(of=merge(...))"));
  EXPECT_THAT(refusal("criticalkv(of=tova)"), HasSubstr("the same entries in all KV heads"));
  EXPECT_THAT(refusal("rerotate(of=adakv(of=snapkv),at=context)"), HasSubstr("as many entries"));
  EXPECT_THAT(refusal("rerotate(of=knorm,layers=\"0.5,0.2,0.1\",at=context)"), HasSubstr("as many entries"));
  EXPECT_THAT(refusal("two_phase(context=rerotate(of=knorm),decode=h2o)"), HasSubstr("new positions"));
  EXPECT_THAT(refusal("merge(of=oracle)"), HasSubstr("cannot be wrapped"));
  EXPECT_EQ(refusal("rerotate(of=chunked(of=knorm),at=context)"), "");
  ModelShape windowed = shape();
  windowed.windows = {0, 32, 0};
  EXPECT_THAT(refusal("rerotate(of=knorm,at=context)", windowed), HasSubstr("sliding windows"));
}

TEST(LayersBudgetTest, HasAValueForEachLayer) {
  const auto method = make_method(resolve_recipe("knorm(layers=\"0.5, 0.25,1\")", {}), shape());
  EXPECT_EQ(method->policy_of(0, 1, DType::kF32).limit_at(100), 50);
  EXPECT_EQ(method->policy_of(1, 0, DType::kF32).limit_at(100), 25);
  EXPECT_EQ(method->policy_of(2, 0, DType::kF32).limit_at(100), 100);
  EXPECT_NEAR(method->spec.policy.value, 1.75 / 3, 1e-12);
}

TEST(LayersBudgetTest, IsWrittenOutInRecipes) {
  for (const char* recipe :
       {"knorm(layers=\"0.5,0.25,1\")", "merge(of=h2o,layers=\"0.5,0.25,1\")",
        "two_phase(context=knorm(layers=\"0.5,0.25,1\"),decode=h2o(layers=\"0.1,0.2,0.3\"))"}) {
    SCOPED_TRACE(recipe);
    const std::string text = resolve_recipe(recipe, {}).recipe;
    EXPECT_THAT(text, HasSubstr("layers=\"0.5,0.25,1\""));
    EXPECT_EQ(resolve_recipe(text, {}).recipe, text);
  }
}

TEST(LayersBudgetTest, RefusesMistakes) {
  EXPECT_THAT(refusal("knorm(layers=\"0.5,0.25\")"),
              AllOf(HasSubstr("layers=\"0.5,0.25\""), HasSubstr("[2]"), HasSubstr("3 layers")));
  EXPECT_THAT(refusal("knorm(layers=\"0.5,half,1\")"), AllOf(HasSubstr("layer 1"), HasSubstr("half")));
  EXPECT_THAT(refusal("knorm(layers=\"0.5,,1\")"), HasSubstr("layer 1"));
  EXPECT_THAT(refusal("knorm(layers=\"0.5,0.2,1.5\")"), AllOf(HasSubstr("layer 2"), HasSubstr("1.5")));
  EXPECT_THAT(refusal("knorm(keep=0.5,layers=\"0.5,0.2,1\")"), HasSubstr("two budgets"));
  EXPECT_THAT(refusal("pyramidkv(of=knorm,layers=\"0.5,0.2,1\")"), HasSubstr("already say"));
}

}  // namespace
}  // namespace kvlab
