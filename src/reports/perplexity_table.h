// The table of a perplexity run.
#pragma once

#include <string>

#include "reports/table.h"
#include "results/perplexity_record.h"

namespace kvlab {

// For a terminal of `width` columns (0: no limit), or as Markdown. Below it stands one line for each row that
// is not plain OK, and one for a repeated baseline that says whether it was equal to the last bit.
std::string render_perplexity(const PerplexityResult& result, TableFormat format, int width);

}  // namespace kvlab
