#include "reports/axis_scale.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"

namespace kvlab {

namespace {

constexpr double kRounding = 1e-9;  // of a step: 0.3 / 0.1 is not 3

std::vector<double> multiples(double step, double low, double high) {
  const double first = std::floor(low / step + kRounding), last = std::ceil(high / step - kRounding);
  std::vector<double> ticks;
  for (double k = first; k <= last; ++k) ticks.push_back(k * step);
  return ticks;
}

// The axis of a single value must have a length; so must one of values that differ by rounding only.
void make_room(double& low, double& high, bool logarithmic) {
  if (high - low > kRounding * std::max(std::fabs(low), std::fabs(high))) return;
  if (logarithmic) {
    low /= 2;
    high *= 2;
  } else {
    const double room = high == 0 ? 1 : std::fabs(high) / 10;
    low -= room;
    high += room;
  }
}

// Decades with the given multiples, cut to what is needed.
std::vector<double> decades(double low, double high, const std::vector<double>& factors) {
  std::vector<double> all;
  for (double e = std::floor(std::log10(low)) - 1; e <= std::ceil(std::log10(high)) + 1; ++e) {
    for (const double factor : factors) all.push_back(factor * std::pow(10, e));
  }
  const auto first = std::upper_bound(all.begin(), all.end(), low * (1 + kRounding));
  const auto last = std::lower_bound(all.begin(), all.end(), high * (1 - kRounding));
  return {first - 1, last + 1};
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int most) {
  KVLAB_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high && most >= 2);
  make_room(low, high, false);
  double power = std::pow(10, std::floor(std::log10((high - low) / most)));
  for (;; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      std::vector<double> ticks = multiples(factor * power, low, high);
      // At two ticks a range around a tick could ask for three at any step.
      if (static_cast<int>(ticks.size()) <= std::max(most, 3)) return ticks;
    }
  }
}

std::vector<double> log_ticks(double low, double high, int most) {
  KVLAB_CHECK(low > 0 && low <= high && std::isfinite(high));
  make_room(low, high, true);
  const double span = std::log10(high / low);
  if (span < 0.5) {
    std::vector<double> ticks = linear_ticks(low, high, most);
    if (ticks[0] > 0) return ticks;
  }
  if (span < 3) {
    std::vector<double> ticks = decades(low, high, {1, 2, 5});
    if (static_cast<int>(ticks.size()) <= most) return ticks;
  }
  for (int step = 1;; ++step) {
    std::vector<double> ticks = decades(low, high, {1});
    const auto count = static_cast<int>(ticks.size());
    if ((count + step - 1) / step > most) continue;
    std::vector<double> fewer;
    for (int i = 0; i < count; i += step) fewer.push_back(ticks[static_cast<size_t>(i)]);
    if (fewer.back() < high * (1 - kRounding)) fewer.push_back(fewer.back() * std::pow(10, step));
    return fewer;
  }
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  for (size_t i = 0; i < ticks.size(); ++i) {
    if (i > 0) smallest = std::min(smallest, std::fabs(ticks[i] - ticks[i - 1]));
    largest = std::max(largest, std::fabs(ticks[i]));
  }
  const bool exponents = largest >= 1e6 || smallest < 1e-5;
  int digits = 0;
  while (!exponents && digits < 6 && ticks.size() > 1) {
    const bool enough = std::all_of(ticks.begin(), ticks.end(), [&](double tick) {
      const double scaled = tick * std::pow(10, digits);
      return std::fabs(scaled - std::round(scaled)) < kRounding * std::max(1.0, std::fabs(scaled));
    });
    if (enough) break;
    ++digits;
  }
  std::vector<std::string> labels;
  for (const double tick : ticks) {
    const double value = tick == 0 ? 0 : tick;  // no "-0"
    labels.push_back(exponents ? fmt::format("{:.3g}", value) : fmt::format("{:.{}f}", value, digits));
  }
  return labels;
}

double AxisScale::place(double value) const {
  if (!std::isfinite(value) || (logarithmic && value <= 0)) return std::numeric_limits<double>::quiet_NaN();
  return logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
}

AxisScale fit_scale(const std::vector<double>& values, bool logarithmic, int most_ticks) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double value : values) {
    if (!std::isfinite(value) || (logarithmic && value <= 0)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) {
    low = logarithmic ? 1 : 0;
    high = logarithmic ? 10 : 1;
  }
  AxisScale scale;
  scale.logarithmic = logarithmic;
  scale.ticks = logarithmic ? log_ticks(low, high, most_ticks) : linear_ticks(low, high, most_ticks);
  scale.low = scale.ticks.front();
  scale.high = scale.ticks.back();
  return scale;
}

}  // namespace kvlab
