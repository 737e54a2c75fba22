// A cell of a CSV file (RFC 4180).
#pragma once

#include <string>

namespace kvlab {

// In quotes where it has to be.
std::string csv_text(const std::string& text);

}  // namespace kvlab
