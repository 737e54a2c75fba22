// The grammar of recipes: what is read, what is refused and where, how lists are cut.
#include "cache/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/damage.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::string refusal(const std::string& text) {
  return error_text([&] { parse_recipe(text); });
}

TEST(Recipe, ReadsPartsAndArguments) {
  const Recipe recipe = parse_recipe(" snapkv ( keep = 0.5 , queries=64 )+kivi(bits=4)");
  ASSERT_EQ(recipe.parts.size(), 2);
  EXPECT_EQ(recipe.parts[0].name, "snapkv");
  EXPECT_THAT(recipe.parts[0].arguments, ElementsAre(Pair("keep", "0.5"), Pair("queries", "64")));
  EXPECT_EQ(recipe.parts[1].name, "kivi");
  EXPECT_THAT(recipe.parts[1].arguments, ElementsAre(Pair("bits", "4")));
}

TEST(Recipe, ParenthesesMayBeEmptyOrMissing) {
  EXPECT_FALSE(parse_recipe("knorm").parts[0].parentheses);
  EXPECT_TRUE(parse_recipe("knorm()").parts[0].parentheses);
  EXPECT_THAT(parse_recipe("knorm( )").parts[0].arguments, IsEmpty());
}

TEST(Recipe, ValuesMayBeParts) {
  const Recipe recipe = parse_recipe("adakv(of=snapkv(queries=32,keep=0.5),keep=0.25)");
  ASSERT_EQ(recipe.parts.size(), 1);
  EXPECT_THAT(recipe.parts[0].arguments,
              ElementsAre(Pair("of", "snapkv(queries=32,keep=0.5)"), Pair("keep", "0.25")));
  const Recipe two = parse_recipe("two_phase(context=snapkv(keep=0.5)+kivi(bits=4),decode=h2o(size=512))");
  EXPECT_THAT(two.parts[0].arguments,
              ElementsAre(Pair("context", "snapkv(keep=0.5)+kivi(bits=4)"), Pair("decode", "h2o(size=512)")));
}

TEST(Recipe, QuotesHideSeparators) {
  const Recipe recipe = parse_recipe("kvzap(model=\"/a b/c,d(e)+f=g\",threshold=-6)");
  EXPECT_THAT(recipe.parts[0].arguments,
              ElementsAre(Pair("model", "/a b/c,d(e)+f=g"), Pair("threshold", "-6")));
}

TEST(Recipe, SaysWhereItCannotBeRead) {
  EXPECT_THAT(refusal(""), HasSubstr("column 1: expected the name of a method"));
  EXPECT_THAT(refusal("knorm("), HasSubstr("column 7: expected a parameter's name"));
  EXPECT_THAT(refusal("knorm(keep"), HasSubstr("column 11: expected '=' after 'keep'"));
  EXPECT_THAT(refusal("knorm(keep=)"), HasSubstr("column 12: expected a value"));
  EXPECT_THAT(refusal("knorm(keep=0.5"), HasSubstr("column 15: expected ',' or ')'"));
  EXPECT_THAT(refusal("knorm(keep=0.5,)"), HasSubstr("column 16: expected a parameter's name"));
  EXPECT_THAT(refusal("knorm(keep=0.5))"), HasSubstr("column 16: expected '+' or the end"));
  EXPECT_THAT(refusal("knorm(keep=0.5)bf16"), HasSubstr("column 16: expected '+' or the end"));
  EXPECT_THAT(refusal("knorm+"), HasSubstr("column 7: expected the name of a method"));
  EXPECT_THAT(refusal("+knorm"), HasSubstr("column 1: expected the name of a method"));
  EXPECT_THAT(refusal("knorm(0.5)"), HasSubstr("expected '=' after '0.5'"));
  EXPECT_THAT(refusal("knorm(=0.5)"), HasSubstr("column 7: expected a parameter's name"));
  EXPECT_THAT(refusal("knorm(keep=0.5,keep=0.6)"), HasSubstr("'keep' is given twice"));
  EXPECT_THAT(refusal("kvzap(model=\"abc)"), HasSubstr("a quote is not closed"));
  EXPECT_THAT(refusal("kvzap(model=a\"b,c\"d)"),
              HasSubstr("column 13: quotes may stand around a whole value"));
  EXPECT_THAT(refusal("adakv(of=f(x=\"a\") b)"), HasSubstr("column 10: quotes may stand"));
  EXPECT_THAT(refusal("adakv(of=snapkv(keep=0.5)"), HasSubstr("expected ',' or ')'"));
  EXPECT_THAT(refusal("knorm{keep=1}"), HasSubstr("column 6: expected '+' or the end"));
}

TEST(Recipe, PrintsWhatItReads) {
  for (const std::string text :
       {"knorm", "h2o(size=512)", "adakv(of=snapkv(queries=32),keep=0.5)", "knorm(keep=0.5)+bf16",
        "kvzap(model=/a/b-c.d,threshold=-6)", "kvzap(model=\"/a b/c,d(e\",threshold=-1e+30)",
        "adakv(of=kvzap(model=\"a) b\"))"}) {
    EXPECT_EQ(print_recipe(parse_recipe(text)), text);
  }
}

TEST(Recipe, CutsListsOutsideParenthesesAndQuotes) {
  EXPECT_THAT(split_recipes("knorm,h2o(size=5,sinks=1)  tova"),
              ElementsAre("knorm", "h2o(size=5,sinks=1)", "tova"));
  EXPECT_THAT(split_recipes(" knorm(keep = 0.5, sinks = 4)+bf16,\n none"),
              ElementsAre("knorm(keep = 0.5, sinks = 4)+bf16", "none"));
  EXPECT_THAT(split_recipes("kvzap(model=\"a ) b, c\") knorm"),
              ElementsAre("kvzap(model=\"a ) b, c\")", "knorm"));
  EXPECT_THAT(split_recipes(" , "), IsEmpty());
  EXPECT_THAT(error_text([] { split_recipes("knorm)"); }), HasSubstr("')' without '('"));
  EXPECT_THAT(error_text([] { split_recipes("knorm(keep=0.5"); }), HasSubstr("a '(' is not closed"));
  EXPECT_THAT(error_text([] { split_recipes("kvzap(model=\"a) knorm"); }), HasSubstr("not closed"));
}

}  // namespace
}  // namespace kvlab
