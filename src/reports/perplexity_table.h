// The table of a perplexity run.
#pragma once

#include <string>

#include "reports/table.h"
#include "results/perplexity_record.h"

namespace kvlab {

// For a terminal of `width` columns (0: no limit), or as Markdown. Below it stands one line for each row that
// is not plain OK, one for a repeated baseline that says whether it was equal to the last bit, and what the
// intervals are.
std::string render_perplexity(const PerplexityResult& result, TableFormat format, int width);

// What each method loses from one ratio to the next, and from 0.5 to 0.9, with 95 % intervals
// (results/perplexity_statistics.h); "" where there is nothing to compare.
std::string render_ratio_steps(const PerplexityResult& result, TableFormat format, int width);

}  // namespace kvlab
