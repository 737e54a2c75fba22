#include "reports/budget_picture.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace kvlab {

namespace {

constexpr Color kInk{33, 37, 41}, kFaintInk{108, 117, 125};
constexpr Color kNone{255, 255, 255}, kMost{8, 64, 129};
constexpr Color kBar{67, 147, 195};

// Sizes in pixels.
constexpr int kLeft = 90, kRight = 110, kHeader = 150, kFooter = 110, kBetween = 60;
constexpr int kBarsWidth = 360, kScaleSteps = 150, kScaleStep = 2;
constexpr double kTitleSize = 26, kTextSize = 17, kSmallSize = 14;

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

// Ticks at every so many rows, so that labels do not touch.
int64_t label_step(int64_t count, int row) {
  int64_t step = 1;
  while (step * row < 16 && step < count) step *= 2;
  return step;
}

class BudgetPicture {
 public:
  explicit BudgetPicture(const HeadBudgetRecord& record)
      : record_(record), layout_(budget_layout(record)), canvas_(layout_.width, layout_.height) {}

  void draw(const std::filesystem::path& path) {
    draw_title();
    draw_map(layout_.first, record_.first, "first document");
    draw_map(layout_.mean, record_.mean,
             record_.documents == 1 ? "mean (1 document)" : fmt::format("mean of {}", record_.documents));
    draw_bars();
    draw_scale();
    canvas_.write_png(path);
  }

 private:
  void draw_title() {
    const double most = layout_.width - kLeft - 20;
    canvas_.text(kLeft, 38, record_.name + ": budgets per layer and KV head", kTitleSize, kInk, Align::kLeft,
                 true, most);
    canvas_.text(kLeft, 66, record_.recipe, kTextSize, kFaintInk, Align::kLeft, false, most);
    const auto [least, greatest] = std::minmax_element(record_.mean.begin(), record_.mean.end());
    canvas_.text(kLeft, 94,
                 fmt::format("kept at the documents' ends: {} of the entries in total; {} ... {} by head",
                             percent(record_.total()), percent(*least), percent(*greatest)),
                 kTextSize, kInk, Align::kLeft, false, most);
  }

  void draw_layer_labels(const Rect& panel) {
    const int row = panel.height / static_cast<int>(record_.layers);
    for (int64_t layer = 0; layer < record_.layers; layer += label_step(record_.layers, row)) {
      canvas_.text(panel.x - 8, panel.y + (static_cast<double>(layer) + 0.5) * row + 5, std::to_string(layer),
                   kSmallSize, kInk, Align::kRight);
    }
  }

  void draw_map(const Rect& panel, const std::vector<double>& shares, const std::string& caption) {
    std::vector<Color> cells;
    for (const double share : shares) cells.push_back(share_color(share, layout_.most));
    canvas_.text(panel.x, panel.y - 12, caption, kTextSize, kInk);
    canvas_.cells(panel, cells, static_cast<int>(record_.heads));
    canvas_.outline(panel, kFaintInk);
    draw_layer_labels(panel);
    const int column = panel.width / static_cast<int>(record_.heads);
    for (int64_t head = 0; head < record_.heads; head += label_step(record_.heads, column)) {
      canvas_.text(panel.x + (static_cast<double>(head) + 0.5) * column, panel.bottom() + 18,
                   std::to_string(head), kSmallSize, kInk, Align::kCenter);
    }
    canvas_.text(panel.x + panel.width / 2.0, panel.bottom() + 40, "KV head", kTextSize, kInk,
                 Align::kCenter);
    if (panel.x == layout_.first.x)
      canvas_.text_upwards(32, panel.y + panel.height / 2.0, "layer", kTextSize, kInk);
  }

  void draw_bars() {
    const Rect& panel = layout_.bars;
    canvas_.text(panel.x, panel.y - 12, "mean of the layer", kTextSize, kInk);
    draw_layer_labels(panel);
    const int row = panel.height / static_cast<int>(record_.layers);
    const int gap = row >= 8 ? 2 : 0;
    for (int64_t layer = 0; layer < record_.layers; ++layer) {
      const double share = record_.of_layer(layer);
      const int length = static_cast<int>(std::lround(panel.width * share / layout_.most));
      const int top = panel.y + static_cast<int>(layer) * row;
      canvas_.fill({panel.x, top + gap / 2, std::max(1, length), std::max(1, row - gap)}, kBar);
      if (layer % label_step(record_.layers, row) != 0) continue;
      canvas_.text(panel.x + length + 8, top + row / 2.0 + 5, percent(share), kSmallSize, kInk);
    }
    const double total = panel.x + panel.width * record_.total() / layout_.most;
    canvas_.line(total, panel.y - 4, total, panel.bottom() + 4, kInk, 1.6, true);
    canvas_.text(total, panel.bottom() + 20, "total " + percent(record_.total()), kSmallSize, kInk,
                 Align::kCenter);
  }

  void draw_scale() {
    const Rect bar{kLeft, layout_.height - 34, kScaleSteps * kScaleStep, 18};
    std::vector<Color> colors;
    for (int i = 0; i < kScaleSteps; ++i)
      colors.push_back(share_color(layout_.most * i / (kScaleSteps - 1.0), layout_.most));
    canvas_.text(bar.x - 8, bar.y + 14, "0%", kSmallSize, kInk, Align::kRight);
    canvas_.cells(bar, colors, kScaleSteps);
    canvas_.outline(bar, kFaintInk);
    canvas_.text(bar.right() + 8, bar.y + 14, percent(layout_.most) + " of the tokens kept", kSmallSize,
                 kInk);
  }

  const HeadBudgetRecord& record_;
  BudgetLayout layout_;
  Canvas canvas_;
};

}  // namespace

Color share_color(double share, double most) {
  const double part = most > 0 ? std::clamp(share / most, 0.0, 1.0) : 0.0;
  const auto mix = [part](uint8_t x, uint8_t y) {
    return static_cast<uint8_t>(std::lround(x + part * (static_cast<double>(y) - x)));
  };
  return {mix(kNone.red, kMost.red), mix(kNone.green, kMost.green), mix(kNone.blue, kMost.blue)};
}

BudgetLayout budget_layout(const HeadBudgetRecord& record) {
  const int layers = static_cast<int>(record.layers), heads = static_cast<int>(record.heads);
  // Whole pixels per cell, as a Canvas wants them.
  const int height = layers * std::clamp(720 / layers, 3, 30);
  const int width = heads * std::clamp(320 / heads, 4, 60);
  BudgetLayout layout;
  layout.first = {kLeft, kHeader, width, height};
  layout.mean = {layout.first.right() + kBetween, kHeader, width, height};
  layout.bars = {layout.mean.right() + kBetween, kHeader, kBarsWidth, height};
  layout.width = layout.bars.right() + kRight;
  layout.height = kHeader + height + kFooter;
  for (const auto* shares : {&record.first, &record.mean})
    layout.most = std::max(layout.most, *std::max_element(shares->begin(), shares->end()));
  return layout;
}

void write_budget_picture(const HeadBudgetRecord& record, const std::filesystem::path& path) {
  BudgetPicture(record).draw(path);
}

}  // namespace kvlab
