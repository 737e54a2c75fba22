// Measured budgets per layer and KV head: means, which rows have any, and that budget=FILE reads them.
#include "results/head_budgets.h"

#include <gmock/gmock.h>

#include "cache/recipe.h"
#include "support/comparison_samples.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;

MethodResult row_with(const std::vector<std::vector<double>>& documents) {
  MethodResult row = sample_method("KVzap", 3.1, 3.0);
  row.documents.assign(documents.size(), row.documents[0]);
  for (size_t d = 0; d < documents.size(); ++d) {
    row.documents[d].head_keep = documents[d];
    row.documents[d].id = "doc" + std::to_string(d);
  }
  return row;
}

TEST(HeadBudgets, MeansOverDocumentsLayersAndAll) {
  const auto record = head_budgets(row_with({{0.5, 0.25, 0.75, 1}, {0.25, 0.25, 0.25, 1}}), 2);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->heads, 2);
  EXPECT_THAT(record->first, ElementsAre(0.5, 0.25, 0.75, 1));
  EXPECT_THAT(record->mean, ElementsAre(0.375, 0.25, 0.5, 1));
  EXPECT_DOUBLE_EQ(record->of_layer(0), 0.3125);
  EXPECT_DOUBLE_EQ(record->total(), 0.53125);
}

TEST(HeadBudgets, OnlyOfRowsWhoseHeadsDiffer) {
  EXPECT_FALSE(head_budgets(row_with({{0.5, 0.5, 0.505, 0.5}}), 2));
  EXPECT_TRUE(head_budgets(row_with({{0.5, 0.5, 0.52, 0.5}}), 2));
  EXPECT_TRUE(head_budgets(row_with({{0.5, 0.7}, {0.7, 0.5}}), 1)) << "the mean hides it";
  MethodResult baseline = row_with({{0.5, 1}});
  baseline.reference = true;
  EXPECT_FALSE(head_budgets(baseline, 1));
  EXPECT_FALSE(head_budgets(row_with({}), 1));
}

TEST(HeadBudgets, OfSeveralSeedsTheFirst) {
  MethodResult first = row_with({{0.5, 1}}), second = row_with({{0.25, 1}});
  first.seed = 0;
  second.seed = 1;
  const auto record = head_budgets(merge_seeds({first, second}), 1);
  ASSERT_TRUE(record);
  EXPECT_THAT(record->mean, ElementsAre(0.5, 1));
}

TEST(HeadBudgets, AreReadBackAsBudgets) {
  const TempFolder folder;
  const auto record = head_budgets(row_with({{1.0 / 3, 0.25, 0.7, 1}}), 2);
  ASSERT_TRUE(record);
  const auto json = head_budgets_json(*record);
  EXPECT_EQ(json.at("first_document").at("id"), "doc0");
  EXPECT_EQ(json.at("measured").at("documents"), 1);
  const std::string file = folder.write("b.json", json.dump());
  const MethodSpec spec = resolve_recipe("knorm(budget=\"" + file + "\")", {});
  ASSERT_TRUE(spec.policy.table);
  EXPECT_EQ(spec.policy.table->budget, "keep");
  EXPECT_EQ(spec.policy.table->layers, 2);
  EXPECT_THAT(spec.policy.table->values, ElementsAre(1.0 / 3, 0.25, 0.7, 1));
}

}  // namespace
}  // namespace kvlab
