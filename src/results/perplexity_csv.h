// The CSV files of a perplexity run. A figure that does not apply is an empty cell.
#pragma once

#include <string>

#include "results/perplexity_record.h"

namespace kvlab {

// One line per window and run: ppl.csv. `seed` is empty for a row without seeds.
std::string perplexity_csv(const PerplexityRow& row);
// One line per row: ppl_summary.csv. The columns are keys of perplexity_row_json().
std::string perplexity_summary_csv(const PerplexityResult& result);
// One line per step (perplexity_statistics.h): ratio_steps.csv.
std::string ratio_steps_csv(const PerplexityResult& result);

}  // namespace kvlab
