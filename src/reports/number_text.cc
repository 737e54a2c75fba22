#include "reports/number_text.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace kvlab {

std::string number_text(const std::optional<double>& value, const NumberStyle& style,
                        const std::string& missing) {
  if (!value) return missing;
  const double scaled = *value * style.factor;
  if (!std::isfinite(scaled)) return std::isnan(scaled) ? "nan" : scaled > 0 ? "inf" : "-inf";
  constexpr double kTooLong = 1e7;
  std::string text = std::fabs(scaled) < kTooLong ? fmt::format("{:.{}f}", scaled, style.digits)
                                                  : fmt::format("{:.3e}", scaled);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  if (zero && text[0] == '-') text.erase(0, 1);
  if (!zero && style.sign && scaled > 0) text.insert(0, "+");
  return text + style.unit;
}

std::string interval_text(double low, double high, const NumberStyle& style) {
  return "[" + number_text(low, style, "") + ", " + number_text(high, style, "") + "]";
}

std::string bytes_text(const std::optional<double>& bytes, const std::string& missing) {
  if (!bytes) return missing;
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = *bytes;
  size_t unit = 0;
  // 999.95 would be printed as 1000.0, so it already takes the next unit.
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

}  // namespace kvlab
