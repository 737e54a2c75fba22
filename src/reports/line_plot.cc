#include "reports/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "reports/label_places.h"

namespace kvlab {

namespace {

constexpr int kWidth = 1100, kHeight = 520;
constexpr int kLeft = 96, kTop = 66, kBottom = 62, kRight = 24;
constexpr int kLegendWidth = 250;  // with the gap before it
constexpr int kMostXTicks = 11, kMostYTicks = 9;
constexpr double kTextSize = 13, kTitleSize = 16, kLabelSize = 11.5;
constexpr double kMarkerRadius = 4.5, kCapHalf = 4;

constexpr Color kBlack{0, 0, 0}, kGray{110, 110, 110}, kGrid{228, 228, 228};
constexpr std::array kColors = {Color{0, 114, 178},   Color{213, 94, 0},  Color{0, 158, 115},
                                Color{204, 121, 167}, Color{230, 159, 0}, Color{86, 180, 233}};

// A point that both axes can show.
struct Shown {
  Point at;
  std::optional<double> low, high;  // pixels
  const PlotPoint* point;
};

std::optional<double> shown_y(const PlotLayout& layout, const std::optional<double>& value) {
  if (!value) return std::nullopt;
  const double pixel = layout.y_pixel(*value);
  return std::isnan(pixel) ? std::nullopt : std::optional(pixel);
}

std::optional<Shown> show(const PlotLayout& layout, const PlotPoint& point) {
  const Point at{layout.x_pixel(point.x), layout.y_pixel(point.y)};
  if (std::isnan(at.x) || std::isnan(at.y)) return std::nullopt;
  return Shown{at, shown_y(layout, point.low), shown_y(layout, point.high), &point};
}

void draw_marker(Canvas& canvas, Point at, size_t series) {
  const Color color = series_color(series);
  const double r = kMarkerRadius;
  switch (series % 5) {
    case 0:
      canvas.disk(at, r, color);
      break;
    case 1:
      canvas.polygon({{at.x - r, at.y - r}, {at.x + r, at.y - r}, {at.x + r, at.y + r}, {at.x - r, at.y + r}},
                     color);
      break;
    case 2:
      canvas.polygon({{at.x, at.y - 1.3 * r}, {at.x + 1.2 * r, at.y + r}, {at.x - 1.2 * r, at.y + r}}, color);
      break;
    case 3:
      canvas.polygon(
          {{at.x, at.y - 1.4 * r}, {at.x + 1.4 * r, at.y}, {at.x, at.y + 1.4 * r}, {at.x - 1.4 * r, at.y}},
          color);
      break;
    default:
      canvas.polygon({{at.x, at.y + 1.3 * r}, {at.x + 1.2 * r, at.y - r}, {at.x - 1.2 * r, at.y - r}}, color);
  }
}

void draw_bar(Canvas& canvas, const Shown& shown, Color color) {
  if (!shown.low && !shown.high) return;
  const double low = shown.low.value_or(shown.at.y), high = shown.high.value_or(shown.at.y);
  canvas.line(shown.at.x, low, shown.at.x, high, color, 1.4, false);
  for (const auto& end : {shown.low, shown.high}) {
    if (end) canvas.line(shown.at.x - kCapHalf, *end, shown.at.x + kCapHalf, *end, color, 1.4, false);
  }
}

void draw_series(Canvas& canvas, const PlotLayout& layout, const PlotSeries& series, size_t index) {
  const Color color = series_color(index);
  std::optional<Shown> before;
  std::vector<Shown> markers;
  for (const PlotPoint& point : series.points) {
    const std::optional<Shown> shown = show(layout, point);
    if (shown && before) canvas.line(before->at.x, before->at.y, shown->at.x, shown->at.y, color, 1.8, false);
    if (shown) draw_bar(canvas, *shown, color);
    if (shown) markers.push_back(*shown);
    before = shown;
  }
  for (const Shown& shown : markers) draw_marker(canvas, shown.at, index);
}

Box box_of(const Rect& rect) {
  return {static_cast<double>(rect.x), static_cast<double>(rect.y), static_cast<double>(rect.right()),
          static_cast<double>(rect.bottom())};
}

// Labels keep clear of markers and bars; lines they may cross.
void draw_labels(Canvas& canvas, const PlotLayout& layout, const LinePlot& plot) {
  std::vector<Shown> labelled;
  std::vector<Box> obstacles;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      const std::optional<Shown> shown = show(layout, point);
      if (!shown) continue;
      const Point at = shown->at;
      obstacles.push_back({at.x - kMarkerRadius - 1, at.y - kMarkerRadius - 1, at.x + kMarkerRadius + 1,
                           at.y + kMarkerRadius + 1});
      // Pixels grow downwards, so the high end is the upper one.
      obstacles.push_back({at.x - 1, shown->high.value_or(at.y), at.x + 1, shown->low.value_or(at.y)});
      if (!point.label.empty()) labelled.push_back(*shown);
    }
  }
  LabelPlaces places(box_of(layout.area), std::move(obstacles));
  for (const Shown& shown : labelled) {
    const double width = canvas.text_width(shown.point->label, kLabelSize);
    const std::optional<PlacedLabel> label = places.place(shown.at, width, kLabelSize);
    if (!label) continue;
    const double middle = (label->box.left + label->box.right) / 2;
    if (!label->close)
      canvas.line(shown.at.x, shown.at.y, std::clamp(shown.at.x, label->box.left, label->box.right),
                  std::clamp(shown.at.y, label->box.top, label->box.bottom), kGray, 0.8, false);
    canvas.text(middle, label->box.bottom - 2, shown.point->label, kLabelSize, kBlack, Align::kCenter);
  }
}

void draw_axes(Canvas& canvas, const PlotLayout& layout, const LinePlot& plot, int top) {
  const Rect& area = layout.area;
  const std::vector<std::string> x_labels = tick_labels(layout.x.ticks),
                                 y_labels = tick_labels(layout.y.ticks);
  for (size_t i = 0; i < x_labels.size(); ++i) {
    const double x = layout.x_pixel(layout.x.ticks[i]);
    canvas.line(x, area.y, x, area.bottom(), kGrid, 1, false);
    canvas.text(x, area.bottom() + 19, x_labels[i], kTextSize, kBlack, Align::kCenter);
  }
  for (size_t i = 0; i < y_labels.size(); ++i) {
    const double y = layout.y_pixel(layout.y.ticks[i]);
    canvas.line(area.x, y, area.right(), y, kGrid, 1, false);
    canvas.text(area.x - 8, y + 4.5, y_labels[i], kTextSize, kBlack, Align::kRight);
  }
  canvas.outline(area, kGray);
  const double middle = area.x + area.width / 2.0;
  canvas.text(middle, area.bottom() + 44, plot.x.label, kTextSize, kBlack, Align::kCenter, false, area.width);
  canvas.text_upwards(24, area.y + area.height / 2.0, plot.y.label, kTextSize, kBlack);
  canvas.text(kLeft, top + 28, plot.title, kTitleSize, kBlack, Align::kLeft, true, kWidth - kLeft - kRight);
  canvas.text(kLeft, top + 49, plot.subtitle, kTextSize, kGray, Align::kLeft, false, kWidth - kLeft - kRight);
}

void draw_baseline(Canvas& canvas, const PlotLayout& layout, const LinePlot& plot) {
  if (const auto y = shown_y(layout, plot.baseline))
    canvas.line(layout.area.x, *y, layout.area.right(), *y, kGray, 1.6, true);
}

void draw_legend(Canvas& canvas, const PlotLayout& layout, const LinePlot& plot) {
  constexpr int kGap = 20, kSwatch = 34, kHighest = 22;
  const double left = layout.area.right() + kGap, text_left = left + kSwatch + 8;
  const double room = layout.width - kRight - text_left;
  const size_t entries = plot.series.size() + (plot.baseline ? 1 : 0);
  const double line = std::min<double>(
      kHighest, static_cast<double>(layout.area.height) / static_cast<double>(std::max<size_t>(1, entries)));
  double y = layout.area.y + line / 2;
  const auto name = [&](const std::string& words) {
    canvas.text(text_left, y + 4, words, std::min(kTextSize, line), kBlack, Align::kLeft, false, room);
    y += line;
  };
  for (size_t i = 0; i < plot.series.size(); ++i) {
    if (plot.series[i].points.size() > 1)
      canvas.line(left, y, left + kSwatch, y, series_color(i), 1.8, false);
    draw_marker(canvas, {left + kSwatch / 2.0, y}, i);
    name(plot.series[i].name);
  }
  if (!plot.baseline) return;
  canvas.line(left, y, left + kSwatch, y, kGray, 1.6, true);
  name(plot.baseline_name);
}

void draw(Canvas& canvas, const LinePlot& plot, int top) {
  const PlotLayout layout = plot_layout(plot, top);
  draw_axes(canvas, layout, plot, top);
  draw_baseline(canvas, layout, plot);
  for (size_t i = 0; i < plot.series.size(); ++i) draw_series(canvas, layout, plot.series[i], i);
  draw_labels(canvas, layout, plot);
  draw_legend(canvas, layout, plot);
}

}  // namespace

double PlotLayout::x_pixel(double value) const {
  return area.x + x.place(value) * area.width;
}

double PlotLayout::y_pixel(double value) const {
  return area.bottom() - y.place(value) * area.height;
}

PlotLayout plot_layout(const LinePlot& plot, int top) {
  PlotLayout layout;
  layout.width = kWidth;
  layout.height = kHeight;
  layout.area = {kLeft, top + kTop, kWidth - kLeft - kLegendWidth - kRight, kHeight - kTop - kBottom};
  std::vector<double> x, y;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      x.push_back(point.x);
      y.push_back(point.y);
      for (const auto& end : {point.low, point.high}) {
        if (end) y.push_back(*end);
      }
    }
  }
  if (plot.baseline) y.push_back(*plot.baseline);
  layout.x = fit_scale(x, plot.x.logarithmic, kMostXTicks);
  layout.y = fit_scale(y, plot.y.logarithmic, kMostYTicks);
  return layout;
}

Color series_color(size_t series) {
  return kColors[series % kColors.size()];
}

void write_plots(const std::vector<LinePlot>& panels, const std::filesystem::path& path) {
  KVLAB_CHECK(!panels.empty());
  Canvas canvas(kWidth, kHeight * static_cast<int>(panels.size()));
  int top = 0;
  for (const LinePlot& panel : panels) {
    draw(canvas, panel, top);
    top += kHeight;
  }
  canvas.write_png(path);
}

}  // namespace kvlab
