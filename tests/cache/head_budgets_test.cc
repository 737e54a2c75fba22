// Budgets by layer and KV head: the policy of each head, and the files they are read from.
#include <gmock/gmock.h>

#include "cache/method.h"
#include "format/safetensors.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ModelShape kShape{/*layers=*/2, /*hidden=*/12, /*query_heads=*/4, /*kv_heads=*/2, /*head_dim=*/8};

class HeadBudgetsTest : public ::testing::Test {
 protected:
  MethodSpec resolve(const std::string& scorer, const std::string& json, const std::string& rest = "") const {
    return resolve_recipe(scorer + "(budget=\"" + folder_.write("b.json", json).string() + "\"" + rest + ")",
                          {});
  }
  std::string refusal(const std::string& json, const std::string& scorer = "knorm",
                      const std::string& rest = "") const {
    return testing::error_text([&] { make_method(resolve(scorer, json, rest), kShape); });
  }
  TempFolder folder_;
  const std::string path_ = (folder_.path() / "b.json").string();
};

TEST_F(HeadBudgetsTest, EachHeadHasItsOwn) {
  const Policy policy = resolve("knorm", R"({"keep": [[0.5, 0.25], [1, 0.125]]})").policy;
  EXPECT_EQ(policy.budget->name, "keep");
  EXPECT_DOUBLE_EQ(policy.value, 1.875 / 4);
  EXPECT_EQ(policy.of_head(0, 0).limit_at(80), 40);
  EXPECT_EQ(policy.of_head(0, 1).limit_at(80), 20);
  EXPECT_EQ(policy.of_head(1, 1).limit_at(80), 10);
  EXPECT_TRUE(policy.of_head(1, 0).neutral());
  EXPECT_FALSE(policy.neutral());
  EXPECT_EQ(policy.of_head(0, 1).window_at(80), 10);
  EXPECT_EQ(policy.window_at(80), 5) << "what every head protects";
  EXPECT_EQ(policy.common_window_at(80), std::nullopt) << "they differ";
  EXPECT_EQ(
      resolve("knorm", R"({"keep": [[0.5, 0.25], [1, 0.125]]})", ",window=9").policy.common_window_at(80), 9);
  EXPECT_TRUE(resolve("knorm", R"({"keep": [[1, 1], [1, 1]]})").policy.neutral());
}

TEST_F(HeadBudgetsTest, ANumberForEachLayer) {
  const Policy policy = resolve("tova", R"({"size": [40, 16]})").policy;
  EXPECT_EQ(policy.budget->name, "size");
  for (const int head : {0, 1}) {
    EXPECT_EQ(policy.of_head(0, head).limit_at(100), 40);
    EXPECT_EQ(policy.of_head(1, head).limit_at(100), 16);
  }
  EXPECT_EQ(refusal(R"({"size": [40, 16]})", "tova"), "");
}

TEST_F(HeadBudgetsTest, TensorsSayTheSame) {
  const std::string path = (folder_.path() / "b.safetensors").string();
  write_safetensors(path, {{"keep", {2, 2}, {0.3f, 0.25f, 1, 0.125f}}});
  const MethodSpec spec = resolve_recipe("knorm(budget=\"" + path + "\")", {});
  EXPECT_THAT(spec.policy.table->values, ElementsAre(0.3, 0.25, 1, 0.125));
  write_safetensors(path, {{"size", {2}, {40, 16}}});
  EXPECT_THAT(resolve_recipe("knorm(budget=\"" + path + "\")", {}).policy.table->values, ElementsAre(40, 16));
  write_safetensors(path, {{"keep", {1, 2, 2}, {1, 1, 1, 1}}});
  EXPECT_THAT(
      testing::error_text([&] { resolve_recipe("knorm(budget=\"" + path + "\")", {}); }),
      AllOf(HasSubstr(path), HasSubstr("has shape [1, 2, 2] (expected [layers, kv_heads] or [layers])")));
}

TEST_F(HeadBudgetsTest, TheRecipeNamesTheFile) {
  const MethodSpec spec = resolve("h2o", R"({"size": [[40, 16], [30, 30]]})", ",window=4");
  EXPECT_EQ(spec.recipe, "h2o(budget=" + path_ + ",sinks=0,window=4,every=1,accumulate=sum)");
  EXPECT_EQ(resolve_recipe(spec.recipe, {}).policy.table->values, spec.policy.table->values);
}

TEST_F(HeadBudgetsTest, MistakesInTheFile) {
  EXPECT_THAT(refusal("[1]"), AllOf(HasSubstr(path_), HasSubstr("expected an object")));
  EXPECT_THAT(refusal(R"({"keeps": [1, 1]})"),
              HasSubstr("no budget (expected one of free_density, keep, size)"));
  EXPECT_THAT(refusal(R"({"keep": [1, 1], "size": [9, 9]})"), HasSubstr("two budgets, 'keep' and 'size'"));
  EXPECT_THAT(refusal(R"({"keep": 0.5})"), HasSubstr("'keep' is 0.5 (expected an array"));
  EXPECT_THAT(refusal(R"({"keep": []})"), HasSubstr("expected an array with an element for each layer"));
  EXPECT_THAT(refusal(R"({"keep": [[0.5, 0.5], [0.5]]})"), HasSubstr("'keep' of layer 1 is not like"));
  EXPECT_THAT(refusal(R"({"keep": [[0.5, 0.5], 0.5]})"), HasSubstr("'keep' of layer 1 is not like"));
  EXPECT_THAT(refusal(R"({"keep": [[0.5, "x"], [0.5, 0.5]]})"), HasSubstr("layer 0, head 1 is \"x\""));
  EXPECT_THAT(refusal(R"({"keep": [[0.5, 1.5], [0.5, 0.5]]})"),
              AllOf(HasSubstr("layer 0, head 1 is 1.5"), HasSubstr("number 0..1")));
  EXPECT_THAT(refusal(R"({"size": [[50, 50], [50.5, 50]]})"), HasSubstr("layer 1, head 0 is 50.5"));
  EXPECT_THAT(refusal(R"({"keep": [)"), AllOf(HasSubstr(path_), HasSubstr("JSON")));
  EXPECT_THAT(testing::error_text([] { resolve_recipe("knorm(budget=no_such.json)", {}); }),
              HasSubstr("no_such.json"));
}

TEST_F(HeadBudgetsTest, MistakesWithTheModelAndTheMethod) {
  EXPECT_THAT(
      refusal(R"({"keep": [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]})"),
      AllOf(HasSubstr(path_), HasSubstr("'keep' has shape [2, 3]"), HasSubstr("expected [2, 2] or [2]")));
  EXPECT_THAT(refusal(R"({"keep": [0.5, 0.5, 0.5]})"), HasSubstr("has shape [3]"));
  EXPECT_THAT(refusal(R"({"keep": [[0.5, 0.5], [0.5, 0.25]]})", "tova"),
              AllOf(HasSubstr(path_), HasSubstr("those of layer 1 have different budgets")));
  EXPECT_EQ(refusal(R"({"keep": [[0.5, 0.5], [0.25, 0.25]]})", "tova"), "");
  EXPECT_THAT(refusal(R"({"size": [[50, 50], [12, 50]]})", "knorm", ",window=16"),
              AllOf(HasSubstr("size=12"), HasSubstr("layer 1, head 0"), HasSubstr("below sinks + window")));
  EXPECT_THAT(refusal(R"({"keep": [0.5, 0.5]})", "knorm", ",keep=0.5"), HasSubstr("two budgets"));
}

TEST_F(HeadBudgetsTest, AMethodOfAllHeadsTakesOverNoUnevenContext) {
  const auto refusal_of = [&](const std::string& json) {
    const std::string path = folder_.write("b.json", json).string();
    const std::string recipe =
        "two_phase(context=streaming_llm(budget=\"" + path + "\"),decode=tova(keep=0.5))";
    return testing::error_text([&] { make_method(resolve_recipe(recipe, {}), kShape); });
  };
  EXPECT_THAT(refusal_of(R"({"keep": [[0.5, 0.5], [0.5, 0.25]]})"),
              HasSubstr("tova keeps the same entries in all KV heads of a layer"));
  EXPECT_EQ(refusal_of(R"({"keep": [0.5, 0.25]})"), "");
}

}  // namespace
}  // namespace kvlab
