// An axis: the range it shows, where its ticks are and what they say, and where on it a value lies.
#pragma once

#include <string>
#include <vector>

namespace kvlab {

// Multiples of 1, 2 or 5 times a power of ten, the smallest such step that gives at most `most` ticks, from
// the last at or below `low` to the first at or above `high`. low <= high, both finite; most >= 2.
std::vector<double> linear_ticks(double low, double high, int most);

// The same on a logarithmic axis, for 0 < low <= high: powers of ten, with 2 and 5 times them on axes of
// fewer than three decades, and linear ticks where those are too few.
std::vector<double> log_ticks(double low, double high, int most);

// All with the same digits after the point, as few as tell them apart: {"0", "0.5", "1"} is {"0.0", ...}.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

struct AxisScale {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;  // the first is low, the last high

  // 0 at low, 1 at high. NaN for what the axis cannot show: NaN, infinities, what is not above 0 on a
  // logarithmic one.
  double place(double value) const;
};

// An axis that shows all values that it can show; 0..1 (1..10) without any. A single value gets room on both
// sides.
AxisScale fit_scale(const std::vector<double>& values, bool logarithmic, int most_ticks);

}  // namespace kvlab
