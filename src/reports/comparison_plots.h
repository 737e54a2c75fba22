// The plot of a comparison: what quality costs at which size of the cache.
#pragma once

#include <optional>

#include "reports/line_plot.h"
#include "results/record.h"

namespace kvlab {

// ΔNLL with 95 % bars against the KV bytes that the scored queries saw, as a fraction of what the baseline's
// saw: a labelled point per row that has both. Baselines and noise floors are the dashed line. Null where no
// row has a point.
std::optional<LinePlot> quality_plot(const ComparisonResult& result);

// PPL against the KV bytes that the scored queries saw, with the Pareto front (results/pareto.h) and the
// baseline as its end joined by a line: a labelled point per row that has both. Rows that take no part say
// why in their label. Null where fewer than two rows take part.
std::optional<LinePlot> pareto_plot(const ComparisonResult& result);

// "SmolLM2-135M · 6 documents · token set 0123…", of what `config` has.
std::string run_subtitle(const nlohmann::ordered_json& config);

inline constexpr const char* kDeltaNllAxis = "ΔNLL against the baseline, nats per token (95% interval)";

}  // namespace kvlab
