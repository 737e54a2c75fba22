#include "base/byte_size.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace kvlab {

namespace {

constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
constexpr double kMost = 9e18;  // below 2^63

bool equal_but_for_case(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// Bytes of a unit; 0 when there is no such unit.
double unit_bytes(const std::string& unit) {
  if (unit.empty()) return 1;
  for (size_t i = 0; i < kUnits.size(); ++i) {
    if (equal_but_for_case(unit, kUnits[i])) return std::exp2(10.0 * static_cast<double>(i));
  }
  return 0;
}

}  // namespace

int64_t parse_byte_size(const std::string& flag, const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string unit(error == std::errc{} ? rest : end, end);
  unit.erase(0, unit.find_first_not_of(' '));
  const double bytes = number * unit_bytes(unit);
  if (error != std::errc{} || !(bytes >= 1 && bytes <= kMost)) {
    throw UserError(flag + " '" + text +
                    "' is not a size of memory (expected bytes or KiB, MiB, GiB, TiB, as 512MiB, 2GiB or "
                    "2147483648)");
  }
  return static_cast<int64_t>(bytes);
}

std::string byte_size_text(int64_t bytes) {
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; unit + 1 < kUnits.size() && value >= 1024; ++unit) value /= 1024;
  // Three digits say enough; rounded up, so that as much is enough where `bytes` are.
  const double step = value >= 100 ? 1 : value >= 10 ? 0.1 : 0.01;
  value = std::ceil(value / step - 1e-9) * step;
  std::array<char, 32> text{};
  const auto [last, error] = std::to_chars(text.data(), text.data() + text.size(), value,
                                           std::chars_format::fixed, value >= 100 ? 0 : 2);
  KVLAB_CHECK(error == std::errc{});
  std::string digits(text.data(), last);
  if (digits.find('.') != std::string::npos) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
  }
  return digits + kUnits[unit];
}

}  // namespace kvlab
