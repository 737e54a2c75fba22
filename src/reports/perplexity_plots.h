// The plots of a perplexity run over compression ratios: a line per method, the baseline dashed.
#pragma once

#include <optional>

#include "reports/line_plot.h"
#include "results/perplexity_record.h"

namespace kvlab {

// With 95 % bars: of PPL by the paired interval of ΔNLL, around the row's PPL; of the runtime by the windows'
// times. Rows without a ratio have no place; null where none has one. An axis whose values differ by more
// than a factor of ten is logarithmic.
std::optional<LinePlot> ppl_plot(const PerplexityResult& result);
std::optional<LinePlot> runtime_plot(const PerplexityResult& result);

}  // namespace kvlab
