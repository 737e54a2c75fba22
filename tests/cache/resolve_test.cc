// From recipes to methods: defaults, refusals, names and the canonical text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
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

std::string refusal(const std::string& text, const RecipeDefaults& defaults = {}) {
  return error_text([&] { resolve_recipe(text, defaults); });
}

TEST(Resolve, AParameterChoosesBetweenTwoKindsOfOneName) {
  EXPECT_EQ(resolve("external(scores=\"s.safetensors\",keep=0.25)").scorer->name, "external");
  const MethodSpec spec = resolve("external(evict_at=\"dir/e.safetensors\")");
  EXPECT_EQ(spec.scorer->name, "external_evictions");
  EXPECT_EQ(spec.recipe, "external_evictions(evict_at=dir/e.safetensors)");
  EXPECT_EQ(resolve(spec.recipe).recipe, spec.recipe);
  EXPECT_EQ(spec.display, "External(evict_at=dir/e.safetensors)");
  EXPECT_THAT(refusal("external(scores=a,evict_at=b)"), HasSubstr("either scores or evict_at, not both"));
}

TEST(Resolve, WhatIsWrittenDownTakesNoBudget) {
  const MethodSpec spec = resolve("external(evict_at=e.safetensors)");
  EXPECT_EQ(spec.policy.budget, nullptr);
  EXPECT_FALSE(spec.policy.neutral()) << "the file may evict";
  EXPECT_EQ(spec.policy.common_window_at(1000), std::nullopt);
  for (const std::string argument : {"keep=0.5", "size=100", "threshold=0", "budget=b.json", "sinks=4",
                                     "window=8", "every=2", "at=context", "compression_ratio=0.5"}) {
    const std::string name = argument.substr(0, argument.find('='));
    EXPECT_THAT(refusal("external(evict_at=e.safetensors," + argument + ")"),
                HasSubstr("takes no " + name + ": the file says when each entry goes"));
  }
  EXPECT_THAT(refusal("external(evict_at=e.safetensors,seed=1)"), HasSubstr("draws no random numbers"));
}

TEST(Resolve, SinksWhileStreaming) {
  for (const std::string name : {"random", "streaming_llm", "kvzap"}) {
    EXPECT_EQ(resolve(name + "(keep=0.5)").policy.sinks, 4) << name;
  }
  for (const std::string name : {"knorm", "h2o", "tova", "observed_attention"}) {
    EXPECT_EQ(resolve(name + "(keep=0.5)").policy.sinks, 0) << name;
  }
  EXPECT_EQ(resolve("knorm(keep=0.5,sinks=7)").policy.sinks, 7);
}

TEST(Resolve, WindowsWhileStreaming) {
  const auto window = [](const std::string& text, int64_t n) { return resolve(text).policy.window_at(n); };
  EXPECT_EQ(window("knorm(threshold=-16)", 1000), 128);
  EXPECT_EQ(window("knorm(free_density=0.5)", 1000), 128);
  EXPECT_EQ(window("knorm(keep=0.5)", 100), 25);
  EXPECT_EQ(window("knorm(keep=0.5)", 4000), 128);
  EXPECT_EQ(window("knorm(size=160)", 4000), 80);
  EXPECT_EQ(window("h2o(threshold=1)", 1000), 512);
  EXPECT_EQ(window("h2o(free_density=0.5)", 1000), 512);
  EXPECT_EQ(window("h2o(keep=0.5)", 4000), 1000);
  EXPECT_EQ(window("h2o(size=513)", 4000), 256);
  for (const std::string budget : {"keep=0.5", "size=160", "free_density=0.5"}) {
    EXPECT_EQ(window("tova(" + budget + ")", 4000), 1) << budget;
  }
  EXPECT_EQ(window("h2o(keep=0.5,window=9)", 4000), 9);
}

TEST(Resolve, ProtectionAtTheEndOfAContext) {
  for (const auto* scorer : registry_scorers()) {
    if (!scorer->no_budget.empty()) continue;
    const Policy policy = resolve(scorer->name + "(keep=0.5,at=context)").policy;
    EXPECT_TRUE(policy.at_context) << scorer->name;
    EXPECT_EQ(policy.window_at(1000), scorer->context_window) << scorer->name;
    EXPECT_EQ(policy.sinks, scorer->context_sinks) << scorer->name;
  }
  EXPECT_EQ(resolve("knorm(keep=0.5,at=context,window=3,sinks=2)").policy.window_at(1000), 3);
}

TEST(Resolve, BudgetsThatARunSays) {
  RecipeDefaults defaults;
  defaults.keep = 0.25;
  EXPECT_EQ(resolve("knorm", defaults).policy.budget->name, "keep");
  EXPECT_EQ(resolve("knorm", defaults).policy.value, 0.25);
  EXPECT_EQ(resolve("knorm(keep=0.75)", defaults).policy.value, 0.75);

  defaults.thresholds = {{"knorm", -16}};
  defaults.densities = {{"h2o", 0.125}};
  defaults.kvzap_threshold = -6;
  EXPECT_EQ(resolve("knorm", defaults).policy.budget->name, "threshold");
  EXPECT_EQ(resolve("knorm", defaults).policy.value, -16);
  EXPECT_EQ(resolve("h2o", defaults).policy.budget->name, "free_density");
  EXPECT_EQ(resolve("kvzap", defaults).policy.value, -6);
  EXPECT_EQ(resolve("tova", defaults).policy.budget->name, "keep");

  defaults.sinks = 9;
  defaults.window = 11;
  defaults.every = 13;
  const Policy policy = resolve("knorm(keep=0.5)", defaults).policy;
  EXPECT_EQ(policy.sinks, 9);
  EXPECT_EQ(policy.window_at(1000), 11);
  EXPECT_EQ(policy.every, 13);
  EXPECT_EQ(resolve("knorm(keep=0.5,every=2,sinks=1,window=3)", defaults).policy.every, 2);
}

TEST(Resolve, CompressionRatioIsWhatGoes) {
  const Policy policy = resolve("knorm(compression_ratio=0.75)").policy;
  EXPECT_EQ(policy.budget->name, "keep");
  EXPECT_DOUBLE_EQ(policy.value, 0.25);
  EXPECT_TRUE(resolve("knorm(compression_ratio=0)").policy.neutral());
}

TEST(Resolve, StreamingLlmSizeFollowsFromItsProtection) {
  const Policy policy = resolve("streaming_llm(sinks=4,window=128)").policy;
  EXPECT_EQ(policy.budget->name, "size");
  EXPECT_EQ(policy.value, 132);
  EXPECT_EQ(policy.window_at(10000), 128);
  EXPECT_EQ(resolve("streaming_llm(window=60)").policy.value, 64);
  EXPECT_EQ(resolve("streaming_llm(sinks=2)").policy.value, 130);
  EXPECT_EQ(resolve("streaming_llm(sinks=0,window=0)").policy.value, 1) << "a head never runs empty";
  EXPECT_EQ(resolve("streaming_llm").policy.budget->name, "keep");
}

TEST(Resolve, NamedRecipes) {
  const MethodSpec validation = resolve("random_validation");
  EXPECT_EQ(validation.display, "Random(threshold=1.0)");
  EXPECT_EQ(validation.scorer->name, "random");
  EXPECT_TRUE(validation.policy.threshold());
  EXPECT_EQ(validation.policy.value, 1);
  EXPECT_EQ(validation.policy.sinks, 4);
  EXPECT_EQ(validation.policy.window_at(1000), 128);

  RecipeDefaults defaults;
  defaults.kvzap_threshold = -5;
  const MethodSpec no_sink = resolve("kvzap_no_sink", defaults);
  EXPECT_EQ(no_sink.scorer->name, "kvzap");
  EXPECT_EQ(no_sink.policy.sinks, 0);
  EXPECT_EQ(no_sink.policy.value, -5);
  EXPECT_EQ(resolve("kvzap_no_sink(threshold=-3)").policy.value, -3);
  EXPECT_EQ(resolve("random_validation(window=8)").policy.window_at(1000), 8);
  const MethodSpec coded = resolve("random_validation+bf16");
  EXPECT_EQ(coded.scorer->name, "random");
  ASSERT_TRUE(coded.codec);
  EXPECT_EQ(coded.codec->name, "bf16");
}

TEST(Resolve, SpellingsOfOneName) {
  for (const std::string name : {"StreamingLLM", "streaming-llm", "streaming_llm", "STREAMING_LLM"}) {
    EXPECT_EQ(resolve(name + "(keep=0.5)").scorer->name, "streaming_llm") << name;
  }
  for (const std::string name : {"none", "no_press", "NoPress", "baseline", "Baseline"}) {
    EXPECT_TRUE(resolve(name).dense()) << name;
  }
  EXPECT_EQ(resolve("none+bf16").recipe, "none+bf16");
}

TEST(Resolve, RefusesWithTheReason) {
  EXPECT_THAT(refusal("knorm(keep=0.5,size=100)"),
              AllOf(HasSubstr("two budgets"), HasSubstr("'keep'"), HasSubstr("'size'")));
  EXPECT_THAT(refusal("knorm(keep=0.5,compression_ratio=0.5)"), HasSubstr("two budgets"));
  EXPECT_THAT(refusal("knrom(keep=0.5)"),
              AllOf(HasSubstr("unknown method 'knrom'"), HasSubstr("did you mean 'knorm'")));
  EXPECT_THAT(refusal("knorm(thresold=-16)"),
              AllOf(HasSubstr("thresold"), HasSubstr("did you mean 'threshold'")));
  EXPECT_THAT(refusal("tova(threshold=0.1)"), HasSubstr("tova takes no threshold"));
  EXPECT_THAT(refusal("streaming_llm(threshold=5)"), HasSubstr("streaming_llm takes no threshold"));
  EXPECT_THAT(refusal("knorm(size=131,sinks=4,window=128)"),
              HasSubstr("size=131 is below sinks + window = 4 + 128"));
  EXPECT_EQ(refusal("knorm(size=132,sinks=4,window=128)"), "");
  EXPECT_THAT(refusal("random(size=4)"), HasSubstr("below sinks + window = 4 + 2"))
      << "the window by rule counts too";
  EXPECT_THAT(refusal("knorm(compression_ratio=1.5)"), AllOf(HasSubstr("1.5"), HasSubstr("out of range")));
  EXPECT_THAT(refusal("knorm(keep=-0.1)"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("knorm(keep=half)"), HasSubstr("is not a number"));
  EXPECT_THAT(refusal("knorm(size=10.5)"), HasSubstr("is not an integer"));
  EXPECT_THAT(refusal("knorm(size=0)"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("knorm(keep=0.5,every=0)"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("knorm(keep=0.5,seed=3)"), HasSubstr("draws no random numbers"));
  EXPECT_THAT(refusal("knorm(keep=0.5,model=x)"), HasSubstr("has no model"));
  EXPECT_THAT(refusal("knorm(keep=0.5,every=4,at=context)"), HasSubstr("exclude each other"));
  EXPECT_THAT(refusal("knorm(keep=0.5,at=end)"), HasSubstr("context"));
  EXPECT_THAT(refusal("knorm(keep=0.5)+h2o"), HasSubstr("two scorers"));
  EXPECT_THAT(refusal("knorm(keep=0.5)+random_validation"), HasSubstr("two scorers"));
  EXPECT_THAT(refusal("knorm(keep=0.5)+bf16+f32"), HasSubstr("two codecs"));
  EXPECT_THAT(refusal("bf16"), HasSubstr("none+bf16"));
  EXPECT_THAT(refusal("none(keep=0.5)"), HasSubstr("takes no parameters"));
  EXPECT_THAT(refusal("random_validation(keep=0.5)"), HasSubstr("two budgets"));
}

TEST(Resolve, SeedsAndModels) {
  RecipeDefaults defaults;
  defaults.seed = 5;
  defaults.scorer_model = "/models/a b";
  EXPECT_EQ(resolve("random", defaults).seed, 5u);
  EXPECT_FALSE(resolve("random", defaults).seed_given);
  EXPECT_EQ(resolve("random(seed=9)", defaults).seed, 9u);
  EXPECT_TRUE(resolve("random(seed=9)", defaults).seed_given);
  EXPECT_EQ(resolve("kvzap(threshold=-6)", defaults).model_path, "/models/a b");
  EXPECT_EQ(resolve("kvzap(threshold=-6,model=\"/x, y\")", defaults).model_path, "/x, y");
  EXPECT_EQ(resolve("knorm", defaults).model_path, "");
}

// Two specs that would run in the same way.
void expect_same(const MethodSpec& a, const MethodSpec& b) {
  EXPECT_EQ(a.recipe, b.recipe);
  EXPECT_EQ(a.scorer, b.scorer);
  EXPECT_EQ(a.codec, b.codec);
  if (a.scorer->seeded) {
    EXPECT_EQ(a.seed, b.seed);
  }
  EXPECT_EQ(a.model_path, b.model_path);
  EXPECT_EQ(a.policy.budget, b.policy.budget);
  EXPECT_EQ(a.policy.value, b.policy.value);
  EXPECT_EQ(a.policy.sinks, b.policy.sinks);
  EXPECT_EQ(a.policy.at_context, b.policy.at_context);
  if (!a.policy.at_context) {
    EXPECT_EQ(a.policy.every, b.policy.every);
  }
  for (const int64_t n : {1, 10, 300, 5000}) EXPECT_EQ(a.policy.window_at(n), b.policy.window_at(n));
}

TEST(Resolve, TheCanonicalTextMeansTheSame) {
  RecipeDefaults defaults;
  defaults.every = 3;
  defaults.seed = 11;
  defaults.scorer_model = "/a folder/with, comma";
  for (const auto* scorer : registry_scorers()) {
    if (!scorer->no_budget.empty()) continue;
    for (const std::string budget :
         {"threshold=-1e30", "threshold=-16.25", "keep=0.1", "size=300", "free_density=0.3"}) {
      if (budget[0] == 't' && !scorer->no_threshold.empty()) continue;
      for (const std::string rest : {"", ",sinks=2,window=9", ",every=5", ",at=context"}) {
        if (scorer->kind == ScorerKind::kContext && rest == ",every=5") continue;
        for (const std::string codec : {"", "+bf16"}) {
          const std::string text = scorer->name + "(" + budget + rest + ")" + codec;
          SCOPED_TRACE(text);
          const MethodSpec spec = resolve(text, defaults);
          expect_same(spec, resolve(spec.recipe));  // whatever the run's defaults are
          expect_same(spec, resolve(spec.recipe, defaults));
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvlab
