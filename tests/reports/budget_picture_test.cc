// The picture of budgets per layer and KV head shows the shares where they belong.
#include "reports/budget_picture.h"

#include <gtest/gtest.h>

#include "support/picture.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

HeadBudgetRecord record_of(int64_t layers, int64_t heads) {
  HeadBudgetRecord record;
  record.name = "KVzap";
  record.recipe = "kvzap(threshold=-4)";
  record.layers = layers;
  record.heads = heads;
  record.documents = 2;
  for (int64_t i = 0; i < layers * heads; ++i) {
    record.first.push_back(static_cast<double>(i % 5) / 5);
    record.mean.push_back(static_cast<double>(i % 3) / 4);
  }
  return record;
}

TEST(BudgetPicture, EveryCellHasTheColourOfItsShare) {
  const TempFolder folder;
  const HeadBudgetRecord record = record_of(6, 3);
  const auto path = folder.path() / "b.png";
  write_budget_picture(record, path);
  const Picture picture(path);
  ASSERT_TRUE(picture.good());
  const BudgetLayout layout = budget_layout(record);
  EXPECT_EQ(picture.width(), layout.width);
  EXPECT_EQ(picture.height(), layout.height);
  EXPECT_DOUBLE_EQ(layout.most, 0.8);
  for (const auto& [panel, shares] : {std::pair(layout.first, record.first), {layout.mean, record.mean}}) {
    for (int layer = 0; layer < 6; ++layer) {
      for (int head = 0; head < 3; ++head) {
        const int x = panel.x + (2 * head + 1) * panel.width / 6,
                  y = panel.y + (2 * layer + 1) * panel.height / 12;
        EXPECT_EQ(picture.at(x, y), share_color(shares[layer * 3 + head], 0.8)) << layer << " " << head;
      }
    }
  }
}

TEST(BudgetPicture, BarsAreAsLongAsTheirLayersMean) {
  const TempFolder folder;
  HeadBudgetRecord record = record_of(2, 1);
  record.first = {1, 1};
  record.mean = {1, 0.25};
  const auto path = folder.path() / "b.png";
  write_budget_picture(record, path);
  const Picture picture(path);
  const Rect bars = budget_layout(record).bars;
  const Color background = picture.at(bars.right() - 20, bars.y + 3 * bars.height / 4);
  const auto filled = [&](int layer, double part) {
    return !(picture.at(bars.x + static_cast<int>(part * bars.width),
                        bars.y + (2 * layer + 1) * bars.height / 4) == background);
  };
  EXPECT_TRUE(filled(0, 0.95));
  EXPECT_TRUE(filled(1, 0.2));
  EXPECT_FALSE(filled(1, 0.5));
}

TEST(BudgetPicture, FitsManyLayersAndHeads) {
  for (const auto& [layers, heads] : {std::pair(1, 1), {80, 8}, {126, 128}}) {
    const TempFolder folder;
    const auto path = folder.path() / "b.png";
    write_budget_picture(record_of(layers, heads), path);
    EXPECT_TRUE(Picture(path).good()) << layers;
  }
}

}  // namespace
}  // namespace kvlab
