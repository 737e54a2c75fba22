#include "results/pareto.h"

#include <algorithm>

namespace kvlab {

namespace {

bool dominates(const MethodSummary& a, const MethodSummary& b) {
  return *a.kv_bytes_seen <= *b.kv_bytes_seen && *a.nll <= *b.nll &&
         (*a.kv_bytes_seen < *b.kv_bytes_seen || *a.nll < *b.nll);
}

}  // namespace

bool takes_part(const MethodResult& row, const MethodSummary& summary) {
  return row.status == Status::kOk && !row.reference && !row.control && !row.non_causal &&
         !row.trained_on_this.found() && summary.nll && summary.kv_bytes_seen;
}

std::vector<std::optional<bool>> pareto_front(const ComparisonResult& result,
                                              const std::vector<MethodSummary>& summaries) {
  std::vector<const MethodSummary*> rivals;
  for (size_t i = 0; i < summaries.size(); ++i) {
    const bool baseline = i == 0 && summaries[i].nll && summaries[i].kv_bytes_seen;
    if (baseline || takes_part(result.methods[i], summaries[i])) rivals.push_back(&summaries[i]);
  }
  std::vector<std::optional<bool>> front(summaries.size());
  for (size_t i = 0; i < summaries.size(); ++i) {
    if (!takes_part(result.methods[i], summaries[i])) continue;
    front[i] = std::none_of(rivals.begin(), rivals.end(),
                            [&](const MethodSummary* rival) { return dominates(*rival, summaries[i]); });
  }
  return front;
}

}  // namespace kvlab
