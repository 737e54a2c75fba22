// Line charts: points with 95 % bars and labels over linear or logarithmic axes, drawn with Cairo. The same
// plot gives the same pixels.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reports/axis_scale.h"
#include "reports/canvas.h"

namespace kvlab {

struct PlotPoint {
  double x = 0, y = 0;
  std::optional<double> low, high;  // ends of a vertical bar
  std::string label;                // beside the point, where there is room
};

// Points in the order in which a line joins them. Points that an axis cannot show (NaN) are left out and the
// line is interrupted there.
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;
};

struct PlotAxis {
  std::string label;  // also says in which direction it is better, or what is counted
  bool logarithmic = false;
};

struct LinePlot {
  std::string title, subtitle;
  PlotAxis x, y;
  std::vector<PlotSeries> series;
  std::optional<double> baseline;  // a dashed line at this y
  std::string baseline_name;       // in the legend
};

// Where things are, in pixels.
struct PlotLayout {
  int width = 0, height = 0;
  Rect area;  // inside the axes; the legend is to the right of it
  AxisScale x, y;

  // NaN where the axis cannot show the value.
  double x_pixel(double value) const;
  double y_pixel(double value) const;
};

// `top`: where the plot begins, below others in the same picture.
PlotLayout plot_layout(const LinePlot& plot, int top = 0);

// Colours and markers repeat after 6 and 5 series, so 30 can be told apart. The colours are those of Okabe
// and Ito (2008), which the colour-blind can tell apart, without the yellow, which is faint on white.
Color series_color(size_t series);

// The panels below each other as a PNG file, whole or not at all. Throws UserError when it cannot be written.
void write_plots(const std::vector<LinePlot>& panels, const std::filesystem::path& path);

}  // namespace kvlab
