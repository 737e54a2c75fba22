#include "reports/grid.h"

#include <algorithm>

#include "base/utf8_check.h"

namespace kvlab {

namespace {

constexpr size_t kGap = 2;

std::string spaces(size_t count) {
  return std::string(count, ' ');
}

std::string padded_right(const std::string& text, size_t width) {
  return text + spaces(width - std::min(width, display_width(text)));
}

std::string padded_left(const std::string& text, size_t width) {
  return spaces(width - std::min(width, display_width(text))) + text;
}

// Where the digits before the decimal point end: "19.8 MB" and "19.80 ± 0.2" line up there.
size_t split_point(const std::string& cell) {
  return std::min(cell.find_first_of(". "), cell.size());
}

void align_points(std::vector<std::string>& cells) {
  size_t before = 0, after = 0;
  for (const std::string& cell : cells) {
    const size_t at = split_point(cell);
    before = std::max(before, display_width(cell.substr(0, at)));
    after = std::max(after, display_width(cell.substr(at)));
  }
  for (std::string& cell : cells) {
    const size_t at = split_point(cell);
    cell = padded_left(cell.substr(0, at), before) + padded_right(cell.substr(at), after);
  }
}

std::string block_text(const std::vector<PaddedColumn>& columns, const std::vector<size_t>& chosen,
                       const std::string& rule) {
  std::string heading, line, text;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const PaddedColumn& column = columns[chosen[i]];
    heading += (i ? spaces(kGap) : "") + column.heading;
    line += i ? spaces(kGap) : "";
    for (size_t c = 0; c < column.width; ++c) line += rule;
  }
  const auto add = [&](std::string row) {
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  };
  add(heading);
  add(line);
  for (size_t r = 0; r < columns[0].cells.size(); ++r) {
    std::string row;
    for (size_t i = 0; i < chosen.size(); ++i) row += (i ? spaces(kGap) : "") + columns[chosen[i]].cells[r];
    add(row);
  }
  return text;
}

using Blocks = std::vector<std::vector<size_t>>;

// Which columns stand in which block: as many as fit `width`, the first one in each.
Blocks filled_blocks(const std::vector<PaddedColumn>& columns, size_t width) {
  Blocks blocks = {{0}};
  size_t used = columns[0].width;
  for (size_t c = 1; c < columns.size(); ++c) {
    const size_t more = kGap + columns[c].width;
    if (used + more > width && blocks.back().size() > 1) {
      blocks.push_back({0});
      used = columns[0].width;
    }
    blocks.back().push_back(c);
    used += more;
  }
  return blocks;
}

// As few blocks as the width allows, and those about equally wide: a last block of a single column reads
// badly.
Blocks blocks_for(const std::vector<PaddedColumn>& columns, size_t width) {
  size_t all = 0;
  for (const PaddedColumn& column : columns) all += kGap + column.width;
  if (width == 0 || width >= all) return filled_blocks(columns, all);
  const size_t fewest = filled_blocks(columns, width).size();
  while (width > 1 && filled_blocks(columns, width - 1).size() == fewest) --width;
  return filled_blocks(columns, width);
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

PaddedColumn pad(const Column& column) {
  PaddedColumn padded{column.heading, column.cells, 0, column.numbers};
  if (column.numbers) align_points(padded.cells);
  padded.width = display_width(column.heading);
  for (const std::string& cell : padded.cells) padded.width = std::max(padded.width, display_width(cell));
  for (std::string& cell : padded.cells) {
    cell = column.numbers ? padded_left(cell, padded.width) : padded_right(cell, padded.width);
  }
  padded.heading =
      column.numbers ? padded_left(column.heading, padded.width) : padded_right(column.heading, padded.width);
  return padded;
}

std::string grid_text(const std::vector<Column>& columns, size_t width, const std::string& rule) {
  std::vector<PaddedColumn> padded;
  for (const Column& column : columns) padded.push_back(pad(column));
  std::string text;
  for (const std::vector<size_t>& block : blocks_for(padded, width)) {
    text += (text.empty() ? "" : "\n") + block_text(padded, block, rule);
  }
  return text;
}

std::string grid_markdown(const std::vector<Column>& columns) {
  std::vector<PaddedColumn> padded;
  for (Column column : columns) {
    for (std::string& cell : column.cells) cell = escaped(cell);
    padded.push_back(pad(column));
  }
  std::string heading = "|", rule = "|", text;
  for (const PaddedColumn& column : padded) {
    heading += " " + column.heading + " |";
    rule += column.numbers ? " " + std::string(column.width - 1, '-') + ": |"
                           : " " + std::string(column.width, '-') + " |";
  }
  text = heading + "\n" + rule + "\n";
  for (size_t r = 0; r < padded[0].cells.size(); ++r) {
    std::string row = "|";
    for (const PaddedColumn& column : padded) row += " " + column.cells[r] + " |";
    text += row + "\n";
  }
  return text;
}

}  // namespace kvlab
