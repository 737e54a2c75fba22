// The picture of budgets per layer and KV head: what a method gave to each.
#pragma once

#include <filesystem>

#include "reports/canvas.h"
#include "results/head_budgets.h"

namespace kvlab {

// The colour of a share, from white for 0 to dark blue for `most`.
Color share_color(double share, double most);

// Where the panels lie.
struct BudgetLayout {
  int width = 0, height = 0;  // of the picture
  Rect first, mean;           // layers × heads, of the first document and of all
  Rect bars;                  // one bar a layer: its mean over documents and heads; full width: `most`
  double most = 0;            // the largest share shown, the scale's end
};
BudgetLayout budget_layout(const HeadBudgetRecord& record);

// Heat maps of the first document and of the mean over documents, bars per layer, the scale and the total, as
// a PNG file, whole or not at all.
void write_budget_picture(const HeadBudgetRecord& record, const std::filesystem::path& path);

}  // namespace kvlab
