#include "reports/line_plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "reports/label_places.h"
#include "support/picture.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

LinePlot two_lines() {
  LinePlot plot;
  plot.title = "Perplexity against compression";
  plot.x.label = "compression ratio: fraction evicted";
  plot.y.label = "PPL";
  plot.series = {{"knorm", {{0, 10, {}, {}, ""}, {0.5, 20, 16, 26, ""}, {0.9, 30, 28, 33, ""}}},
                 {"streaming_llm", {{0, 10, {}, {}, ""}, {0.5, 12, {}, {}, ""}, {0.9, 17, {}, {}, ""}}}};
  plot.baseline = 10;
  plot.baseline_name = "Baseline";
  return plot;
}

class LinePlotTest : public testing::Test {
 protected:
  Color pixel(const LinePlot& plot, double x, double y) const {
    write_plots({plot}, folder_.path() / "plot.png");
    const Picture picture(folder_.path() / "plot.png");
    EXPECT_TRUE(picture.good());
    return picture.at(static_cast<int>(std::lround(x)), static_cast<int>(std::lround(y)));
  }
  TempFolder folder_;
};

TEST_F(LinePlotTest, MapsDataToPixels) {
  const PlotLayout layout = plot_layout(two_lines());
  EXPECT_EQ(layout.x.low, 0);
  EXPECT_NEAR(layout.x.high, 0.9, 1e-12);
  EXPECT_DOUBLE_EQ(layout.x_pixel(0), layout.area.x);
  EXPECT_DOUBLE_EQ(layout.x_pixel(0.45), layout.area.x + layout.area.width / 2.0);
  EXPECT_LT(layout.y_pixel(30), layout.y_pixel(20)) << "upwards";
  EXPECT_LE(layout.y_pixel(layout.y.high), layout.y_pixel(33)) << "the bars fit";
  const PlotLayout lower = plot_layout(two_lines(), 500);
  EXPECT_DOUBLE_EQ(lower.y_pixel(20), layout.y_pixel(20) + 500);
}

TEST_F(LinePlotTest, MarkersHaveTheColoursOfTheirSeries) {
  const LinePlot plot = two_lines();
  const PlotLayout layout = plot_layout(plot);
  EXPECT_EQ(pixel(plot, layout.x_pixel(0.5), layout.y_pixel(20)), series_color(0));
  EXPECT_EQ(pixel(plot, layout.x_pixel(0.5), layout.y_pixel(12)), series_color(1));
  EXPECT_NE(series_color(0), series_color(1));
}

TEST_F(LinePlotTest, BarsReachFromLowToHigh) {
  const LinePlot plot = two_lines();
  const PlotLayout layout = plot_layout(plot);
  const double x = layout.x_pixel(0.5);
  const auto is_drawn = [&](double y) {
    return !(pixel(plot, x, layout.y_pixel(y)) == Color{255, 255, 255});
  };
  EXPECT_TRUE(is_drawn(17.5));
  EXPECT_TRUE(is_drawn(24.5));
  LinePlot without = plot;
  without.series[0].points[1].low.reset();
  without.series[0].points[1].high.reset();
  // The grid's line of x = 0.5 stays.
  EXPECT_NE(pixel(plot, x, layout.y_pixel(24.5)), pixel(without, x, layout.y_pixel(24.5)));
}

TEST_F(LinePlotTest, TheBaselineIsDashed) {
  const LinePlot plot = two_lines();
  write_plots({plot}, folder_.path() / "plot.png");
  const Picture picture(folder_.path() / "plot.png");
  const PlotLayout layout = plot_layout(plot);
  LinePlot raised = plot;
  raised.baseline = 15;
  write_plots({raised}, folder_.path() / "raised.png");
  const Picture other(folder_.path() / "raised.png");
  const int y = static_cast<int>(std::lround(layout.y_pixel(15)));
  int drawn = 0;
  for (int x = layout.area.x + 1; x < layout.area.right() - 1; ++x)
    drawn += !(picture.at(x, y) == other.at(x, y));
  EXPECT_GT(drawn, layout.area.width / 3);
  EXPECT_LT(drawn, layout.area.width * 4 / 5);
}

TEST_F(LinePlotTest, NanLeavesOutThePointAndInterruptsTheLine) {
  LinePlot plot = two_lines();
  plot.series[0].points[1].y = kNan;
  plot.series[0].points[1].low = kNan;
  plot.series[0].points[1].high.reset();
  plot.series.resize(1);
  const PlotLayout layout = plot_layout(plot);
  EXPECT_TRUE(std::isnan(layout.y_pixel(kNan)));
  // Half-way to the next point, where the line would have passed.
  const double x = layout.x_pixel(0.35), y = layout.y_pixel(10 + 20 * 0.35 / 0.9);
  LinePlot joined = plot;
  joined.series[0].points.erase(joined.series[0].points.begin() + 1);
  EXPECT_LT(pixel(joined, x, y).red, 128) << "blue, blended with white at the line's edge";
  EXPECT_GT(pixel(plot, x, y).red, 200);
  EXPECT_EQ(pixel(plot, layout.x_pixel(0.9), layout.y_pixel(30)), series_color(0));
}

TEST_F(LinePlotTest, ASinglePointAndNoPointAtAll) {
  LinePlot plot;
  plot.series = {{"only", {{3, 7, {}, {}, "label"}}}};
  const PlotLayout layout = plot_layout(plot);
  EXPECT_EQ(pixel(plot, layout.x_pixel(3), layout.y_pixel(7)), series_color(0));
  EXPECT_GT(layout.x_pixel(3), layout.area.x);
  EXPECT_LT(layout.x_pixel(3), layout.area.right());
  write_plots({LinePlot{}, plot}, folder_.path() / "empty.png");
  EXPECT_EQ(Picture(folder_.path() / "empty.png").height(), 2 * layout.height);
}

TEST_F(LinePlotTest, LogarithmicAxesLeaveOutWhatIsNotAboveZero) {
  LinePlot plot = two_lines();
  plot.y.logarithmic = true;
  plot.series[0].points[0].y = 0;
  plot.series[0].points[2].y = 4000;
  plot.series[0].points[2].low = -1;
  plot.series[0].points[2].high = 5000;
  const PlotLayout layout = plot_layout(plot);
  EXPECT_GT(layout.y.low, 0);
  EXPECT_NEAR(layout.y_pixel(100) - layout.y_pixel(1000), layout.y_pixel(10) - layout.y_pixel(100), 1e-9);
  EXPECT_EQ(pixel(plot, layout.x_pixel(0.9), layout.y_pixel(4000)), series_color(0));
}

TEST_F(LinePlotTest, TheLegendIsRightOfTheData) {
  LinePlot plot = two_lines();
  const PlotLayout layout = plot_layout(plot);
  write_plots({plot}, folder_.path() / "a.png");
  plot.series[0].name = "another name, and far too long for the room there is " + std::string(200, 'x');
  write_plots({plot}, folder_.path() / "b.png");
  const Picture a(folder_.path() / "a.png"), b(folder_.path() / "b.png");
  int inside = 0, outside = 0;
  for (int y = 0; y < layout.height; ++y) {
    for (int x = 0; x < layout.width; ++x)
      (x <= layout.area.right() ? inside : outside) += !(a.at(x, y) == b.at(x, y));
  }
  EXPECT_EQ(inside, 0);
  EXPECT_GT(outside, 0);
}

TEST_F(LinePlotTest, TheSamePlotGivesTheSameBytes) {
  write_plots({two_lines(), two_lines()}, folder_.path() / "a.png");
  write_plots({two_lines(), two_lines()}, folder_.path() / "b.png");
  EXPECT_EQ(folder_.read("a.png"), folder_.read("b.png"));
}

TEST_F(LinePlotTest, RefusesWrongPlaces) {
  EXPECT_THROW(write_plots({two_lines()}, "/proc/none/a.png"), UserError);
  EXPECT_THROW(write_plots({}, folder_.path() / "a.png"), InternalError);
}

TEST(Canvas, ShapesDoNotBeginWhereATextEnded) {
  TempFolder folder;
  Canvas canvas(200, 100);
  canvas.text(150, 20, "end", 12, {0, 0, 0});
  canvas.polygon({{10, 70}, {20, 70}, {20, 90}, {10, 90}}, {255, 0, 0});
  canvas.text(150, 20, "end", 12, {0, 0, 0});
  canvas.disk({30, 50}, 5, {255, 0, 0});
  canvas.write_png(folder.path() / "a.png");
  const Picture picture(folder.path() / "a.png");
  EXPECT_EQ(picture.at(15, 80), (Color{255, 0, 0}));
  EXPECT_EQ(picture.at(30, 50), (Color{255, 0, 0}));
  for (int y = 25; y < 100; ++y) {
    for (int x = 40; x < 200; ++x) EXPECT_EQ(picture.at(x, y), (Color{255, 255, 255})) << x << " " << y;
  }
}

TEST(LabelPlaces, NoLabelCoversAnother) {
  LabelPlaces places({0, 0, 400, 400}, {{195, 195, 205, 205}});
  std::vector<Box> boxes;
  for (int i = 0; i < 12; ++i) {
    const auto label = places.place({200, 200}, 60, 12);
    ASSERT_TRUE(label) << i;
    EXPECT_TRUE(label->box.inside({0, 0, 400, 400}));
    for (const Box& box : boxes) EXPECT_FALSE(box.overlaps(label->box));
    EXPECT_EQ(label->close, i < 6) << i;  // beside it and at its corners
    boxes.push_back(label->box);
  }
}

TEST(LabelPlaces, NothingWhereThereIsNoRoom) {
  LabelPlaces places({0, 0, 50, 50}, {});
  EXPECT_FALSE(places.place({25, 25}, 60, 12));
  EXPECT_TRUE(places.place({25, 25}, 10, 12));
}

}  // namespace
}  // namespace kvlab
