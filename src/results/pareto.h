// The Pareto front of a comparison: the rows for which no other is better in both, loss and bytes.
#pragma once

#include <optional>
#include <vector>

#include "results/summary.h"

namespace kvlab {

// Whether a row takes part: it did its work (status OK), is no baseline, control or bound that knows the
// future, was not fitted on this text, and has both figures.
bool takes_part(const MethodResult& row, const MethodSummary& summary);

// A row is dominated when the baseline or another row that takes part has at most its kv_bytes_seen and at
// most its NLL, and one of the two is lower. True: it takes part and is not dominated; nothing: it does not
// take part. Differences count however small they are: intervals are not looked at.
std::vector<std::optional<bool>> pareto_front(const ComparisonResult& result,
                                              const std::vector<MethodSummary>& summaries);

}  // namespace kvlab
