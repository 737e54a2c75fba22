// `kvlab compare --methods all`, the marked Pareto front, and budgets exported to be run again.
#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "cache/recipe.h"
#include "cli/compare_support.h"
#include "format/trained_on.h"
#include "support/picture.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::ProgramResult;
using EveryMethod = testing::CompareRun;

std::vector<std::string> sorted_names() {
  std::set<std::string> names;
  for (const ScorerInfo* info : registry_scorers()) {
    if (info->form_of.empty()) names.insert(info->name);
  }
  for (const WrapperInfo* info : registry_wrappers()) names.insert(info->name);
  for (const NamedInfo* info : registry_named()) names.insert(info->name);
  return {names.begin(), names.end()};
}

// How the canonical recipe of a name begins: a named recipe is written out. What cannot be resolved keeps its
// name.
std::string first_part(const std::string& name) {
  try {
    return parse_recipe(resolve_recipe(name, {}).recipe).parts[0].name;
  } catch (const UserError&) {
    return name;
  }
}

TEST_F(EveryMethod, HasARowForEverythingThatIsRegistered) {
  const std::string data = place_.documents("data.jsonl", {200});
  const ProgramResult result = compare({"--methods", "all", "--no_long_range"}, data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json written = summary();
  std::vector<std::string> recipes;
  for (const json& recipe : written.at("config").at("recipes")) recipes.push_back(recipe);
  const std::vector<std::string> expected = sorted_names();
  ASSERT_EQ(recipes.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(parse_recipe(recipes[i]).parts[0].name, first_part(expected[i])) << expected[i];
  const auto by_scorer = [&](const std::string& scorer) {
    for (const json& row : written.at("methods")) {
      if (row.at("recipe").get<std::string>().rfind(scorer, 0) == 0) return row;
    }
    ADD_FAILURE() << scorer;
    return json::object();
  };
  EXPECT_EQ(by_scorer("h2o(").at("status"), "OK");
  for (const auto& [scorer, why] :
       {std::pair("external", "needs a file"), {"kvzap(", "needs a scorer trained for this model"}}) {
    EXPECT_EQ(by_scorer(scorer).at("status"), "SKIPPED") << scorer;
    EXPECT_THAT(by_scorer(scorer).at("reason").get<std::string>(), HasSubstr(why));
  }
  for (const json& row : written.at("methods")) {
    EXPECT_EQ(row.at("status") == "SKIPPED" && row.at("reason").is_null(), false) << row.at("name");
    EXPECT_NE(row.at("status"), "FAILED") << row.at("name") << row.at("reason");
  }
  const ProgramResult again = compare({"--methods", "all", "--no_long_range", "--max_length", "60"}, data);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(names(summary()), names(written)) << "the same order each time";
}

TEST_F(EveryMethod, SkipsWhatTheFlagsDoNotSuitAndStandsBesideOthers) {
  const std::string data = place_.documents("data.jsonl", {100});
  const ProgramResult result = compare(
      {"--methods", "all,random(keep=0.125)", "--thresholds", "{\"random\": 0.5}", "--no_long_range"}, data);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(summary().at("methods").back().at("name"), "Random(keep=0.125)");
  const ProgramResult sweep = compare({"--methods", "all", "--thresholds", "-1,-2"}, data);
  EXPECT_EQ(sweep.exit_code, 2);
  EXPECT_THAT(sweep.err, HasSubstr("give exactly one in --methods"));
  const ProgramResult named = compare({"--methods", "external"}, data);
  EXPECT_EQ(named.exit_code, 2) << "what was named and cannot run is a mistake";
}

TEST_F(EveryMethod, TheFrontIsMarked) {
  const std::string data = place_.documents("data.jsonl", {200});
  const ProgramResult result =
      compare({"--methods", "knorm(keep=0.25) knorm(keep=0.5) knorm(keep=0.75)"}, data, true);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json written = summary();
  bool any = false;
  for (const json& row : written.at("methods")) any = any || row.at("pareto") == true;
  EXPECT_TRUE(any) << "the smallest is not dominated";
  EXPECT_EQ(row(written, "Knorm(keep=0.25)").at("pareto"), true);
  EXPECT_THAT(result.out, HasSubstr("front ●: "));
  EXPECT_TRUE(Picture(place_.path("out/pareto.png")).good());
}

TEST_F(EveryMethod, MeasuredBudgetsCanBeRunAgain) {
  const std::string data = place_.documents("data.jsonl", {200, 160});
  ASSERT_EQ(compare({"--methods", "knorm(threshold=-3.5,window=8) knorm(keep=0.5)"}, data, true).exit_code,
            0);
  const std::string stem = "out/Knorm_threshold_-3.5_window_8__budgets";
  const json budgets = json::parse(place_.read(stem + ".json"));
  ASSERT_EQ(budgets.at("keep").size(), 2u);
  ASSERT_EQ(budgets.at("keep")[0].size(), 2u);
  EXPECT_NE(budgets.at("keep")[0][0], budgets.at("keep")[0][1]);
  EXPECT_EQ(budgets.at("measured").at("documents"), 2);
  EXPECT_EQ(budgets.at("first_document").at("tokens"), 200);
  EXPECT_TRUE(Picture(place_.path(stem + ".png")).good());
  EXPECT_FALSE(std::filesystem::exists(place_.path("out/Knorm_keep_0.5__budgets.json"))) << "all heads alike";
  EXPECT_EQ(TrainedOn::read(place_.path(stem + ".trained_on.json")).texts().size(), 2u);

  // The first document's own budgets leave as many entries as the threshold did.
  const json before = details().at("methods").at(2).at("documents").at(0);
  ASSERT_EQ(details().at("methods").at(2).at("name"), "Knorm(threshold=-3.5,window=8)");
  const std::string table =
      place_.write("first.json", json{{"keep", budgets.at("first_document").at("keep")}}.dump());
  ASSERT_EQ(
      compare({"--methods", "random(seed=1,sinks=0,window=8,budget=\"" + table + "\")", "--max_samples", "1"},
              data)
          .exit_code,
      0);
  EXPECT_EQ(details().at("methods").back().at("documents").at(0).at("entries"), before.at("entries"));
  // And the measured file, on the same text, is recognised.
  ASSERT_EQ(compare({"--methods", "knorm(budget=\"" + place_.path(stem + ".json") + "\")"}, data).exit_code,
            0);
  EXPECT_EQ(summary().at("methods").back().at("trained_on_this").at("documents"), 2);
  EXPECT_THAT(summary().at("methods").back().at("trained_on_this").at("fitted")[0].get<std::string>(),
              HasSubstr("_budgets.json"));
}

}  // namespace
}  // namespace kvlab
