#include "format/weights.h"

#include <fmt/format.h>

#include "base/error.h"

namespace kvlab {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

std::vector<float> Weights::read(const std::string& name, const std::vector<int64_t>& expected) const {
  const std::vector<int64_t> found = shape(name);
  if (found != expected) {
    throw UserError(fmt::format("{}: tensor '{}' has shape {}, expected {}", path(), name, shape_text(found),
                                shape_text(expected)));
  }
  size_t elements = 1;
  for (const int64_t size : found) elements *= static_cast<size_t>(size);
  const int64_t rows = found.size() < 2 ? 1 : static_cast<int64_t>(elements) / found.back();
  std::vector<float> values(elements);
  read_rows(name, 0, rows, values.data());
  return values;
}

}  // namespace kvlab
