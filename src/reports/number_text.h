// Numbers as people read them in tables.
#pragma once

#include <optional>
#include <string>

namespace kvlab {

struct NumberStyle {
  int digits = 4;         // after the decimal point
  bool sign = false;      // + in front of what is above zero
  double factor = 1;      // 100 for percent
  std::string unit = "";  // behind the number
};

// "19.803", "+0.0123"; null gives `missing`. What rounds to zero has no sign, and what is too long for a
// column is written with an exponent.
std::string number_text(const std::optional<double>& value, const NumberStyle& style,
                        const std::string& missing);

// "[+0.0123, +0.0200]", both ends in one style.
std::string interval_text(double low, double high, const NumberStyle& style);

// "12.3 MB", in powers of 1000.
std::string bytes_text(const std::optional<double>& bytes, const std::string& missing);

}  // namespace kvlab
