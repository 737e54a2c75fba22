// The table of a comparison: for a terminal, as Markdown, as CSV.
#pragma once

#include <string>

#include "results/record.h"

namespace kvlab {

enum class TableFormat { kText, kMarkdown, kCsv };

// "text", "markdown" or "csv"; throws UserError for anything else.
TableFormat parse_table_format(const std::string& name);

struct TableOptions {
  TableFormat format = TableFormat::kText;
  int width = 0;             // columns of the terminal; 0: as wide as it gets
  bool sort_by_nll = false;  // lowest first, rows without a figure last
  bool ascii = false;        // for terminals without UTF-8
};

// Text: decimal points stand under each other. What does not fit the width goes into a second block under the
// first, with the methods' names again, and no line wraps. Below it stands one line for each row that is not
// plain OK. CSV has the same figures with all digits and without units.
std::string render_table(const ComparisonResult& result, const TableOptions& options);

}  // namespace kvlab
