// Every listed part says what it is, and recipes of it survive being written and read again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::all_context_recipes;
using testing::all_streaming_recipes;
using testing::all_two_phase_recipes;

class DescriptorsTest : public testing::OneThread {};

// Names of the source files of a folder of src/methods.
std::set<std::string> file_names(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(KVLAB_SOURCE_DIR) + "/src/methods/" + folder)) {
    if (entry.path().extension() == ".cc") names.insert(entry.path().stem().string());
  }
  return names;
}

template <typename Info>
std::set<std::string> listed_names(const std::vector<const Info*>& all) {
  std::set<std::string> names;
  for (const Info* info : all) {
    EXPECT_TRUE(names.insert(info->name).second) << info->name << " is listed twice";
    EXPECT_NE(info->summary, "") << info->name;
    EXPECT_EQ(info->summary.find('\n'), std::string::npos) << info->name << ": one line";
  }
  return names;
}

TEST_F(DescriptorsTest, EveryFileIsListedUnderItsName) {
  EXPECT_EQ(listed_names(registry_scorers()), file_names("scorers"));
  EXPECT_EQ(listed_names(registry_budgets()), file_names("budgets"));
  EXPECT_EQ(listed_names(registry_codecs()), file_names("codecs"));
  EXPECT_EQ(listed_names(registry_named()), file_names("named"));
  EXPECT_EQ(listed_names(registry_wrappers()), file_names("wrappers"));
}

TEST_F(DescriptorsTest, ScorersSayWhatTheyAre) {
  for (const ScorerInfo* scorer : registry_scorers()) {
    SCOPED_TRACE(scorer->name);
    EXPECT_NE(scorer->title, "");
    EXPECT_NE(scorer->paper, "");
    EXPECT_EQ(scorer->formula.rfind("score_j = ", 0), 0u);
    EXPECT_TRUE(scorer->create);
    EXPECT_GE(scorer->sinks, 0);
    EXPECT_GE(scorer->context_sinks, 0);
    EXPECT_GE(scorer->context_window, 0);
    for (const Field& field : scorer->fields) EXPECT_NE(field.help, "") << field.name;
  }
  for (const NamedInfo* named : registry_named()) {
    SCOPED_TRACE(named->name);
    EXPECT_NE(named->title, "");
    EXPECT_NE(named->paper, "");
    EXPECT_NO_THROW(resolve_recipe(named->name, {}));
    EXPECT_EQ(resolve_recipe(named->name, {}).display, named->title);
  }
}

// What the comment at the top of a method's file says after each label: "Idea: …" begins a line and goes on
// until the next label.
std::map<std::string, std::string> file_head(const std::string& path) {
  std::ifstream file(std::string(KVLAB_SOURCE_DIR) + "/" + path);
  std::map<std::string, std::string> head;
  std::string line, label;
  while (std::getline(file, line) && line.rfind("//", 0) == 0) {
    for (const char* known :
         {"Idea", "Paper", "Symbols", "Differs", "Bytes per token", "In kvpress", "Examples"}) {
      if (line.rfind(std::string("// ") + known + ": ", 0) == 0) label = known;
    }
    if (label.empty()) continue;
    const bool starts = head[label].empty();
    head[label] += " " + line.substr(starts ? label.size() + 5 : 3);
  }
  return head;
}

TEST_F(DescriptorsTest, WrappersSayWhatTheyAre) {
  for (const WrapperInfo* wrapper : registry_wrappers()) {
    SCOPED_TRACE(wrapper->name);
    EXPECT_NE(wrapper->title, "");
    EXPECT_NE(wrapper->paper, "");
    EXPECT_NE(wrapper->formula, "");
    EXPECT_TRUE(wrapper->create);
    for (const Field& field : wrapper->fields) EXPECT_NE(field.help, "") << field.name;
  }
}

TEST_F(DescriptorsTest, MethodsFilesBeginWithWhatThePagesNeed) {
  std::vector<std::string> paths;
  for (const ScorerInfo* scorer : registry_scorers())
    paths.push_back("src/methods/scorers/" + scorer->name + ".cc");
  for (const WrapperInfo* wrapper : registry_wrappers())
    paths.push_back("src/methods/wrappers/" + wrapper->name + ".cc");
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const auto head = file_head(path);
    for (const char* label : {"Idea", "Paper", "Symbols", "Differs", "Bytes per token", "Examples"}) {
      EXPECT_TRUE(head.contains(label))
          << "no line '// " << label
          << ": …' in the comment at its top (CONTRIBUTING.md, \"Adding a method\")";
    }
    if (!head.contains("Examples")) continue;
    const std::vector<std::string> examples = split_recipes(head.at("Examples"));
    EXPECT_FALSE(examples.empty());
    for (const std::string& recipe : examples) EXPECT_NO_THROW(resolve_recipe(recipe, {})) << recipe;
  }
}

TEST_F(DescriptorsTest, RecipesSurviveBeingWritten) {
  std::vector<std::string> recipes = all_streaming_recipes();
  for (const std::string& recipe : all_context_recipes(0.3)) recipes.push_back(recipe);
  for (const std::string& recipe : all_two_phase_recipes()) recipes.push_back(recipe);
  for (const NamedInfo* named : registry_named()) recipes.push_back(named->name);
  for (const ScorerInfo* scorer : registry_scorers()) recipes.push_back(scorer->name);
  for (const WrapperInfo* wrapper : registry_wrappers()) {
    recipes.push_back(wrapper->name + (wrapper->context_only.empty() ? "" : "(at=context)"));
  }
  for (const std::string& recipe : recipes) {
    SCOPED_TRACE(recipe);
    const MethodSpec spec = resolve_recipe(recipe, {});
    const MethodSpec again = resolve_recipe(spec.recipe, {});
    EXPECT_EQ(again.recipe, spec.recipe);
    EXPECT_EQ(again.scorer, spec.scorer);
    EXPECT_EQ(again.policy.budget, spec.policy.budget);
    EXPECT_EQ(again.policy.value, spec.policy.value);
    EXPECT_EQ(again.model_path, spec.model_path);
    EXPECT_EQ(print_recipe(parse_recipe(spec.recipe)), spec.recipe);
    EXPECT_EQ(split_recipes(spec.recipe).size(), 1u);
  }
}

}  // namespace
}  // namespace kvlab
