// Cells to lines: a grid of text laid out with its numbers under each other.
#pragma once

#include <string>
#include <vector>

namespace kvlab {

struct Column {
  std::string heading;
  std::vector<std::string> cells;
  bool numbers = true;  // aligned at the decimal point; else at the left
};

// All cells and the heading of each column padded to one width.
struct PaddedColumn {
  std::string heading;
  std::vector<std::string> cells;
  size_t width = 0;
  bool numbers = true;
};

PaddedColumn pad(const Column& column);

// Lines for a terminal. Columns that do not fit `width` (0: no limit) go into further blocks, each with the
// first column again. `rule` is the character of the line under the headings.
std::string grid_text(const std::vector<Column>& columns, size_t width, const std::string& rule);
std::string grid_markdown(const std::vector<Column>& columns);

}  // namespace kvlab
