#include "reports/heatmap.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/utf8_check.h"
#include "results/hash.h"

namespace kvlab {

namespace {

constexpr Color kInk{33, 37, 41};
constexpr Color kFaintInk{108, 117, 125};
constexpr Color kSinkLine{13, 71, 201};
constexpr Color kWindowLine{255, 128, 0};

// Sizes in pixels.
constexpr int kLeft = 150, kRight = 40, kHeader = 150, kFooter = 176;
constexpr int kPlotWidth = 2048, kLayersHeight = 600, kStripHeight = 64;
constexpr int kTickSpace = 46, kCaptionSpace = 52;
constexpr double kTitleSize = 34, kTextSize = 24, kSmallSize = 20;

Color between(Color a, Color b, double share) {
  const auto mix = [share](uint8_t x, uint8_t y) {
    return static_cast<uint8_t>(std::lround(x + share * (static_cast<double>(y) - x)));
  };
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

// The least power of two that leaves at most `most` ticks.
int64_t tick_step(int64_t count, int64_t most) {
  int64_t step = 1;
  while (count > step * most) step *= 2;
  return step;
}

class Heatmap {
 public:
  explicit Heatmap(const KeptMap& map)
      : map_(map),
        layout_(heatmap_layout(map)),
        keeping_(heads_keeping(map)),
        canvas_(layout_.width, layout_.height) {}

  void draw(const std::filesystem::path& path) {
    draw_title();
    draw_layers();
    draw_strips();
    draw_token_ticks(layout_.layers, false);
    draw_token_ticks(layout_.protection, true);
    draw_boundaries();
    draw_legend();
    canvas_.write_png(path);
  }

 private:
  void draw_title() {
    const std::vector<std::string> lines = kept_statistics(map_);
    std::string second = map_.recipe;
    for (const std::string& line : map_.title) second += (second.empty() ? "" : "   ·   ") + line;
    const double most = layout_.width - kLeft - kRight;
    canvas_.text(kLeft, 48, map_.name, kTitleSize, kInk, Align::kLeft, true, most);
    canvas_.text(kLeft, 84, second, kTextSize, kFaintInk, Align::kLeft, false, most);
    canvas_.text(kLeft, 118, lines[1] + "   ·   " + lines[3], kTextSize, kInk, Align::kLeft, false, most);
  }

  double fraction(int64_t layer, int64_t token) const {
    return static_cast<double>(keeping_[static_cast<size_t>(layer * map_.tokens + token)]) /
           static_cast<double>(map_.heads);
  }

  void draw_layers() {
    std::vector<Color> cells;
    cells.reserve(keeping_.size());
    for (int64_t layer = 0; layer < map_.layers; ++layer) {
      for (int64_t token = 0; token < map_.tokens; ++token)
        cells.push_back(fraction_color(fraction(layer, token)));
    }
    const Rect& panel = layout_.layers;
    draw_panel(panel, cells, "Layers × tokens: fraction of KV heads that keep the token");
    const int64_t step = tick_step(map_.layers, 10);
    const double row = static_cast<double>(panel.height) / static_cast<double>(map_.layers);
    for (int64_t layer = 0; layer < map_.layers; layer += step) {
      const double y = panel.y + (static_cast<double>(layer) + 0.5) * row;
      canvas_.line(panel.x - 9, y, panel.x - 2, y, kInk, 1.5, false);
      canvas_.text(panel.x - 16, y + 7, std::to_string(layer), kSmallSize, kInk, Align::kRight);
    }
    canvas_.text_upwards(48, panel.y + panel.height / 2.0, "layer", kTextSize, kInk);
  }

  void draw_strips() {
    std::vector<Color> mean, binary, protection;
    for (int64_t token = 0; token < map_.tokens; ++token) {
      int64_t kept = 0;
      for (int64_t layer = 0; layer < map_.layers; ++layer) {
        kept += keeping_[static_cast<size_t>(layer * map_.tokens + token)];
      }
      const int64_t pairs = map_.layers * map_.heads;
      mean.push_back(fraction_color(static_cast<double>(kept) / static_cast<double>(pairs)));
      binary.push_back(2 * kept >= pairs ? kKeptColor : kEvictedColor);
      protection.push_back(map_.is_protected(token) ? kProtectedColor : kCompressibleColor);
    }
    draw_panel(layout_.mean, mean, "Mean over layers");
    draw_panel(layout_.binary, binary, "Kept by at least half of the layer-head pairs");
    draw_panel(layout_.protection, protection, "Protected tokens");
  }

  void draw_panel(const Rect& panel, const std::vector<Color>& cells, const std::string& caption) {
    canvas_.text(panel.x, panel.y - 12, caption, kSmallSize, kInk, Align::kLeft, false, panel.width);
    canvas_.cells(panel, cells, static_cast<int>(map_.tokens));
    canvas_.outline(panel, kFaintInk);
  }

  void draw_token_ticks(const Rect& panel, bool named) {
    const double cell = static_cast<double>(panel.width) / static_cast<double>(map_.tokens);
    const int64_t step = tick_step(map_.tokens, 10);
    for (int64_t token = 0; token < map_.tokens; token += step) {
      const double x = panel.x + (static_cast<double>(token) + 0.5) * cell;
      canvas_.line(x, panel.bottom() + 2, x, panel.bottom() + 9, kInk, 1.5, false);
      canvas_.text(x, panel.bottom() + 31, std::to_string(token), kSmallSize, kInk, Align::kCenter);
    }
    if (!named) return;
    canvas_.text(panel.x + panel.width / 2.0, panel.bottom() + 62, "token position", kTextSize, kInk,
                 Align::kCenter);
  }

  void draw_boundary(int64_t token, Color color) {
    if (token <= 0 || token >= map_.tokens) return;
    const int cell = layout_.layers.width / static_cast<int>(map_.tokens);
    const double x = layout_.layers.x + static_cast<double>(token * cell);
    for (const Rect& panel : {layout_.layers, layout_.mean, layout_.binary, layout_.protection}) {
      // White between the dashes, and ends that stick out: orange on red is hard to see otherwise.
      canvas_.line(x, panel.y, x, panel.bottom(), {255, 255, 255}, 3, false);
      canvas_.line(x, panel.y - 8, x, panel.bottom() + 8, color, 3, true);
    }
  }

  void draw_boundaries() {
    draw_boundary(map_.sinks, kSinkLine);
    if (map_.window > 0) draw_boundary(map_.tokens - map_.window, kWindowLine);
  }

  // Makes room for a legend's entry of this width: on a narrow picture the legend takes a second line.
  double place(double width) {
    if (legend_x_ > kLeft && legend_x_ + width > layout_.width - kRight) {
      legend_x_ = kLeft;
      legend_y_ += 36;
    }
    const double x = legend_x_;
    legend_x_ += width + 36;
    return x;
  }

  void legend_box(Color color, const std::string& meaning) {
    const double x = place(44 + canvas_.text_width(meaning, kSmallSize));
    const Rect box{static_cast<int>(x), static_cast<int>(legend_y_) - 20, 34, 24};
    canvas_.fill(box, color);
    canvas_.outline(box, kFaintInk);
    canvas_.text(x + 44, legend_y_, meaning, kSmallSize, kInk);
  }

  void legend_line(Color color, const std::string& meaning) {
    const double x = place(50 + canvas_.text_width(meaning, kSmallSize));
    canvas_.line(x, legend_y_ - 8, x + 40, legend_y_ - 8, color, 3, true);
    canvas_.text(x + 50, legend_y_, meaning, kSmallSize, kInk);
  }

  void legend_bar() {
    constexpr int kSteps = 120, kStepWidth = 2;
    const std::string left = "kept by no head", right = "by all";
    const double left_width = canvas_.text_width(left, kSmallSize);
    const double x = place(left_width + kSteps * kStepWidth + 24 + canvas_.text_width(right, kSmallSize));
    std::vector<Color> colors;
    for (int i = 0; i < kSteps; ++i) colors.push_back(fraction_color(i / (kSteps - 1.0)));
    const Rect bar{static_cast<int>(std::ceil(x + left_width + 12)), static_cast<int>(legend_y_) - 20,
                   kSteps * kStepWidth, 24};
    canvas_.text(x, legend_y_, left, kSmallSize, kInk);
    canvas_.cells(bar, colors, kSteps);
    canvas_.outline(bar, kFaintInk);
    canvas_.text(bar.right() + 12, legend_y_, right, kSmallSize, kInk);
  }

  void draw_legend() {
    legend_x_ = kLeft;
    legend_y_ = layout_.protection.bottom() + 114;
    legend_bar();
    legend_box(kKeptColor, "kept");
    legend_box(kEvictedColor, "evicted");
    legend_box(kProtectedColor, "protected");
    legend_box(kCompressibleColor, "compressible");
    if (map_.sinks > 0) legend_line(kSinkLine, "end of the sinks");
    if (map_.window > 0) legend_line(kWindowLine, "start of the window");
  }

  const KeptMap& map_;
  HeatmapLayout layout_;
  std::vector<int64_t> keeping_;
  Canvas canvas_;
  double legend_x_ = 0, legend_y_ = 0;  // where the legend's next entry goes
};

}  // namespace

Color fraction_color(double fraction) {
  if (fraction <= 0.5) return between(kEvictedColor, kPartlyKeptColor, 2 * fraction);
  return between(kPartlyKeptColor, kKeptColor, 2 * fraction - 1);
}

HeatmapLayout heatmap_layout(const KeptMap& map) {
  check_kept_map(map);
  KVLAB_CHECK(map.tokens <= 16384 &&
              map.layers <= 4096);  // the drawing library's pictures end at 32767 pixels
  const int tokens = static_cast<int>(map.tokens), layers = static_cast<int>(map.layers);
  // Whole pixels per cell keep every token visible and equally wide.
  const int width = tokens * std::max(1, kPlotWidth / tokens);
  const int height = layers * std::clamp(kLayersHeight / layers, 3, 48);
  HeatmapLayout layout;
  layout.layers = {kLeft, kHeader + kCaptionSpace, width, height};
  layout.mean = {kLeft, layout.layers.bottom() + kTickSpace + kCaptionSpace, width, kStripHeight};
  layout.binary = {kLeft, layout.mean.bottom() + kCaptionSpace, width, kStripHeight};
  layout.protection = {kLeft, layout.binary.bottom() + kCaptionSpace, width, kStripHeight};
  layout.width = kLeft + width + kRight;
  layout.height = layout.protection.bottom() + kFooter;
  return layout;
}

Rect panel_area(const KeptMap& map) {
  const HeatmapLayout layout = heatmap_layout(map);
  return {layout.layers.x, layout.layers.y, layout.layers.width,
          layout.protection.bottom() - layout.layers.y};
}

std::string file_stem(const std::string& display_name) {
  constexpr size_t kLongest = 200;  // file systems take 255 bytes
  constexpr std::string_view kUnwanted = "(),=/\\:*?\"<>|";
  std::string stem = with_valid_utf8(display_name);
  for (char& c : stem) {
    if (kUnwanted.find(c) != std::string_view::npos || static_cast<unsigned char>(c) < 0x20) c = '_';
  }
  if (stem.size() > kLongest) {
    Hash64 hash;
    hash.add(stem.data(), stem.size());
    stem = with_valid_utf8(stem.substr(0, kLongest - 17)) + "_" + hash.hex();
    std::replace(stem.begin(), stem.end(), '?', '_');
  }
  return stem;
}

std::string heatmap_file_name(const std::string& display_name) {
  return file_stem(display_name) + "_compression_heatmap.png";
}

void write_heatmap(const KeptMap& map, const std::filesystem::path& path) {
  Heatmap(map).draw(path);
}

}  // namespace kvlab
