// Recipes of two phases: what they resolve to, what they refuse, how they are written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cache/recipe.h"
#include "support/damage.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;

MethodSpec resolve(const std::string& text, const RecipeDefaults& defaults = {}) {
  return resolve_recipe(text, defaults);
}

std::string refusal(const std::string& text) {
  return error_text([&] { resolve_recipe(text, {}); });
}

TEST(ResolveTwoPhase, EachPhaseIsResolvedAsItActs) {
  const MethodSpec spec = resolve("two_phase(context=streaming_llm(keep=0.25),decode=h2o(size=64))");
  ASSERT_TRUE(spec.context);
  EXPECT_EQ(spec.scorer->name, "h2o");
  EXPECT_EQ(spec.policy.value, 64);
  EXPECT_FALSE(spec.policy.at_context);
  EXPECT_EQ(spec.policy.window_at(1000), 32);
  EXPECT_EQ(spec.context->scorer->name, "streaming_llm");
  EXPECT_EQ(spec.context->policy.value, 0.25);
  EXPECT_TRUE(spec.context->policy.at_context);
  EXPECT_EQ(spec.context->policy.window_at(1000), 0) << "as with at=context";
  EXPECT_TRUE(spec.needs_context());
  EXPECT_EQ(spec.phases().size(), 2u);
  EXPECT_EQ(spec.lasting_sinks(), 0) << "H2O protects none of StreamingLLM's four";
  EXPECT_TRUE(resolve("two_phase(context=knorm(keep=0.5,at=context),decode=h2o)").context->policy.at_context);
}

TEST(ResolveTwoPhase, TheRunsDefaultsAreBothPhases) {
  RecipeDefaults defaults;
  defaults.keep = 0.25;
  defaults.every = 8;
  defaults.sinks = 3;
  const MethodSpec spec = resolve("TwoPhase(decode=h2o,context=knorm)", defaults);
  EXPECT_EQ(spec.policy.value, 0.25);
  EXPECT_EQ(spec.policy.every, 8);
  EXPECT_EQ(spec.context->policy.value, 0.25);
  EXPECT_EQ(spec.lasting_sinks(), 3);
}

TEST(ResolveTwoPhase, NoneIsNothing) {
  const MethodSpec late = resolve("two_phase(context=none,decode=h2o(keep=0.5))");
  ASSERT_TRUE(late.context);
  EXPECT_TRUE(late.context->dense());
  EXPECT_EQ(late.phases().size(), 1u);
  EXPECT_TRUE(late.needs_context());
  EXPECT_EQ(late.display, "none then H2O(keep=0.5)");

  const MethodSpec once = resolve("two_phase(context=knorm(keep=0.5),decode=none)+f32");
  EXPECT_FALSE(once.context);
  EXPECT_EQ(once.recipe, resolve("knorm(keep=0.5,at=context)+f32").recipe);
  EXPECT_EQ(once.display, "Knorm(keep=0.5) then none+f32");

  EXPECT_TRUE(resolve("two_phase(context=none,decode=none)").dense());
  EXPECT_EQ(resolve("two_phase(context=none,decode=none)+bf16").recipe, "none+bf16");
}

TEST(ResolveTwoPhase, NamesAndCanonicalText) {
  const MethodSpec spec =
      resolve("two_phase( context = SnapKV(keep=0.5), decode = kvzap_no_sink(threshold=-5) )+bf16");
  EXPECT_EQ(spec.display, "SnapKV(keep=0.5) then KVzap(sinks=0,threshold=-5)+bf16");
  EXPECT_EQ(spec.recipe,
            "two_phase(context=snapkv(keep=0.5,sinks=0,window=0,at=context,queries=64,kernel=5,pooling=avg),"
            "decode=kvzap(threshold=-5,sinks=0,every=1))+bf16");
  EXPECT_EQ(resolve("two_phase(context=none,decode=random_validation)").display,
            "none then Random(threshold=1.0)");
}

TEST(ResolveTwoPhase, TheCanonicalTextMeansTheSame) {
  RecipeDefaults defaults;
  defaults.every = 3;
  defaults.seed = 11;
  defaults.scorer_model = "/a (folder/with, comma";
  for (const std::string text :
       {"two_phase(context=random(keep=0.5),decode=random(size=300,seed=4))",
        "two_phase(context=kvzap(threshold=-5),decode=kvzap(keep=0.5,model=\"/an \\other)\"))+bf16",
        "two_phase(context=none,decode=expected_attention(free_density=0.3,every=64))",
        "two_phase(context=tova(size=30),decode=tova)"}) {
    SCOPED_TRACE(text);
    const MethodSpec spec = resolve(text, defaults), again = resolve(spec.recipe);
    EXPECT_EQ(again.recipe, spec.recipe);
    EXPECT_EQ(again.codec, spec.codec);
    ASSERT_EQ(again.phases().size(), spec.phases().size());
    for (size_t p = 0; p < spec.phases().size(); ++p) {
      const MethodSpec &a = *spec.phases()[p], &b = *again.phases()[p];
      EXPECT_EQ(a.scorer, b.scorer);
      EXPECT_EQ(a.model_path, b.model_path);
      EXPECT_EQ(a.policy.budget, b.policy.budget);
      EXPECT_EQ(a.policy.value, b.policy.value);
      EXPECT_EQ(a.policy.sinks, b.policy.sinks);
      EXPECT_EQ(a.policy.at_context, b.policy.at_context);
      if (a.scorer->seeded) {
        EXPECT_EQ(a.seed, b.seed);
      }
      for (const int64_t n : {1, 10, 300}) EXPECT_EQ(a.policy.window_at(n), b.policy.window_at(n));
    }
    EXPECT_EQ(print_recipe(parse_recipe(spec.recipe)), spec.recipe);
    EXPECT_EQ(split_recipes(spec.recipe + " knorm").size(), 2u);
  }
}

TEST(ResolveTwoPhase, SeedsAreDrawnWhereNoneIsWritten) {
  const MethodSpec one = resolve("two_phase(context=random(keep=0.5),decode=random(keep=0.5,seed=7))");
  EXPECT_EQ(one.drawn_seed(), 0u);
  const MethodSpec other = with_seed(one, 3);
  EXPECT_EQ(other.seed, 7u);
  EXPECT_EQ(other.context->seed, 3u);
  EXPECT_EQ(other.drawn_seed(), 3u);
  EXPECT_THAT(other.recipe, AllOf(HasSubstr("at=context,seed=3"), HasSubstr("every=1,seed=7")));
  EXPECT_EQ(one.context->seed, 0u) << "the first is left alone";
  EXPECT_EQ(resolve("two_phase(context=knorm,decode=h2o)").drawn_seed(), std::nullopt);
}

TEST(ResolveTwoPhase, RefusesWithTheReason) {
  EXPECT_THAT(refusal("two_phase"), HasSubstr("needs 'context='"));
  EXPECT_THAT(refusal("two_phase(context=knorm)"), HasSubstr("needs 'decode='"));
  EXPECT_THAT(refusal("two_phase(context=knorm,decode=h2o,keep=0.5)"), HasSubstr("no parameter 'keep'"));
  EXPECT_THAT(refusal("two_phase(contxt=knorm,decode=h2o)"), HasSubstr("did you mean 'context'"));
  EXPECT_THAT(refusal("two_phase(context=knorm(keep=0.5,every=4),decode=h2o)"),
              HasSubstr("leave 'every' out"));
  EXPECT_THAT(refusal("two_phase(context=knorm,decode=h2o(at=context))"), HasSubstr("leave 'at' out"));
  EXPECT_THAT(refusal("two_phase(context=knorm+bf16,decode=h2o)"), HasSubstr("two_phase(...)+bf16"));
  EXPECT_THAT(refusal("two_phase(context=knorm,decode=two_phase(context=knorm,decode=h2o))"),
              HasSubstr("do not nest"));
  EXPECT_THAT(refusal("two_phase(context=knrom,decode=h2o)"), HasSubstr("did you mean 'knorm'"));
  EXPECT_THAT(refusal("two_phase(context=tova(threshold=1),decode=h2o)"), HasSubstr("takes no threshold"));
  EXPECT_THAT(refusal("two_phase(context=knorm(keep=2),decode=h2o)"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("two_phases(context=knorm,decode=h2o)"), HasSubstr("did you mean 'two_phase'"));
  EXPECT_THAT(refusal("two_phase(context=oracle,decode=h2o)"), HasSubstr("decides before a session runs"));
  EXPECT_THAT(refusal("two_phase(context=knorm,decode=oracle)"), HasSubstr("decides before a session runs"));
  EXPECT_THAT(refusal("knorm(keep=0.5)+two_phase"), HasSubstr("two_phase"));
}

}  // namespace
}  // namespace kvlab
