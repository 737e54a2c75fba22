#include "results/summary.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "results/pareto.h"
#include "results/row_statistics.h"

namespace kvlab {

namespace {

using Figure = std::optional<double>;

Figure ratio(double above, double below) {
  return below > 0 ? Figure(above / below) : std::nullopt;
}
Figure ratio(const EntryCount& count) {
  return ratio(static_cast<double>(count.kept), static_cast<double>(count.all));
}

// All documents as one. Peaks are the largest, the rest are sums.
DocumentResult add_up(const std::vector<DocumentResult>& documents) {
  DocumentResult sum;
  for (const DocumentResult& document : documents) {
    sum.tokens += document.tokens;
    sum.tokens_scored += document.tokens_scored;
    sum.nll_sum += document.nll_sum;
    sum.delta_nll_sum += document.delta_nll_sum;
    sum.kl_sum += document.kl_sum;
    sum.top1_agree += document.top1_agree;
    sum.tokens_touched += document.tokens_touched;
    sum.delta_nll_touched_sum += document.delta_nll_touched_sum;
    sum.tokens_long_range += document.tokens_long_range;
    sum.delta_nll_long_range_sum += document.delta_nll_long_range_sum;
    sum.overall += document.overall;
    sum.outside_window += document.outside_window;
    sum.compressible += document.compressible;
    sum.outside_effective_window += document.outside_effective_window;
    sum.seen_visible += document.seen_visible;
    sum.seen_dense += document.seen_dense;
    sum.kv_bytes += document.kv_bytes;
    sum.kv_bytes_peak = std::max(sum.kv_bytes_peak, document.kv_bytes_peak);
    sum.kv_bytes_seen_sum += document.kv_bytes_seen_sum;
    sum.kv_bytes_baseline += document.kv_bytes_baseline;
    sum.breakdown += document.breakdown;
    sum.evictions += document.evictions;
    sum.forced_evictions += document.forced_evictions;
    sum.seconds += document.seconds;
  }
  return sum;
}

void set_quality(MethodSummary& summary, const DocumentResult& sum, bool inert) {
  const double scored = static_cast<double>(sum.tokens_scored);
  if (sum.tokens_scored == 0) return;
  summary.nll = sum.nll_sum / scored;
  summary.ppl = std::exp(*summary.nll);
  summary.kl_mean = sum.kl_sum / scored;
  summary.top1_agreement = static_cast<double>(sum.top1_agree) / scored;
  if (inert) return;
  summary.delta_nll = sum.delta_nll_sum / scored;
  // PPL minus the baseline's, written so that a small difference of two large numbers keeps its digits.
  summary.delta_ppl_percent = 100 * std::expm1(*summary.delta_nll);
  summary.delta_ppl = -*summary.ppl * std::expm1(-*summary.delta_nll);
  summary.delta_nll_touched = ratio(sum.delta_nll_touched_sum, static_cast<double>(sum.tokens_touched));
  summary.delta_nll_long_range =
      ratio(sum.delta_nll_long_range_sum, static_cast<double>(sum.tokens_long_range));
}

void set_cost(MethodSummary& summary, const DocumentResult& sum, size_t documents) {
  const double count = static_cast<double>(documents);
  summary.density = ratio(sum.overall);
  summary.density_outside_window = ratio(sum.outside_window);
  summary.density_compressible = ratio(sum.compressible);
  summary.density_outside_effective_window = ratio(sum.outside_effective_window);
  summary.density_seen = ratio(sum.seen_visible, sum.seen_dense);
  summary.kv_bytes = static_cast<double>(sum.kv_bytes) / count;
  summary.kv_bytes_peak = static_cast<double>(sum.kv_bytes_peak);
  summary.kv_bytes_seen = ratio(sum.kv_bytes_seen_sum, static_cast<double>(sum.tokens_scored));
  summary.kv_bytes_baseline = static_cast<double>(sum.kv_bytes_baseline) / count;
  summary.tokens_scored = static_cast<double>(sum.tokens_scored);
  summary.tokens_touched = static_cast<double>(sum.tokens_touched);
  summary.long_range_tokens = static_cast<double>(sum.tokens_long_range);
  summary.evictions = static_cast<double>(sum.evictions);
  summary.forced_evictions = static_cast<double>(sum.forced_evictions);
  summary.tokens_per_second = ratio(static_cast<double>(sum.tokens), sum.seconds);
}

// Mean and standard deviation of one figure over the runs that have it.
std::pair<Figure, Figure> over_runs(const std::vector<MethodSummary>& runs, Figure MethodSummary::*figure) {
  double sum = 0, squares = 0;
  int count = 0;
  for (const MethodSummary& run : runs) {
    if (!(run.*figure)) continue;
    sum += *(run.*figure);
    ++count;
  }
  if (count == 0) return {};
  const double mean = sum / count;
  for (const MethodSummary& run : runs) {
    if (run.*figure) squares += (*(run.*figure) - mean) * (*(run.*figure) - mean);
  }
  return {mean, count > 1 ? Figure(std::sqrt(squares / (count - 1))) : std::nullopt};
}

MethodSummary summarise_runs(const std::vector<MethodResult>& runs, Figures figures) {
  using S = MethodSummary;
  std::vector<MethodSummary> summaries;
  for (const MethodResult& run : runs) summaries.push_back(summarise(run, figures));
  MethodSummary mean;
  for (Figure S::*figure : {&S::kl_mean,
                            &S::top1_agreement,
                            &S::density,
                            &S::density_outside_window,
                            &S::density_compressible,
                            &S::density_outside_effective_window,
                            &S::density_seen,
                            &S::effective_window,
                            &S::kv_bytes,
                            &S::kv_bytes_peak,
                            &S::kv_bytes_seen,
                            &S::kv_bytes_baseline,
                            &S::tokens_scored,
                            &S::tokens_touched,
                            &S::delta_nll_touched,
                            &S::long_range_tokens,
                            &S::delta_nll_long_range,
                            &S::kl_median,
                            &S::kl_p90,
                            &S::kl_p95,
                            &S::kl_p99,
                            &S::kl_p999,
                            &S::kl_max,
                            &S::rms_delta_p,
                            &S::evictions,
                            &S::forced_evictions,
                            &S::tokens_per_second}) {
    mean.*figure = over_runs(summaries, figure).first;
  }
  std::tie(mean.nll, mean.nll_spread) = over_runs(summaries, &S::nll);
  std::tie(mean.ppl, mean.ppl_spread) = over_runs(summaries, &S::ppl);
  std::tie(mean.delta_nll, mean.delta_nll_spread) = over_runs(summaries, &S::delta_nll);
  std::tie(mean.delta_ppl, mean.delta_ppl_spread) = over_runs(summaries, &S::delta_ppl);
  std::tie(mean.delta_ppl_percent, mean.delta_ppl_percent_spread) =
      over_runs(summaries, &S::delta_ppl_percent);
  mean.seeds = std::move(summaries);
  return mean;
}

// One inert run makes the row inert: the mean over the others would not be the row's.
void clear_deltas(MethodSummary& summary) {
  using S = MethodSummary;
  for (Figure S::*figure :
       {&S::delta_nll, &S::delta_ppl, &S::delta_ppl_percent, &S::delta_nll_touched, &S::delta_nll_long_range,
        &S::delta_nll_spread, &S::delta_ppl_spread, &S::delta_ppl_percent_spread, &S::kl_median, &S::kl_p90,
        &S::kl_p95, &S::kl_p99, &S::kl_p999, &S::kl_max, &S::rms_delta_p}) {
    (summary.*figure).reset();
  }
}

void set_intervals(MethodSummary& summary, const MethodResult& row) {
  if (const std::optional<RowIntervals> intervals = row_intervals(row)) {
    summary.delta_nll_ci95 = intervals->delta_nll.ci95;
    summary.delta_nll_p = intervals->delta_nll.p;
    summary.kl_ci95 = intervals->kl_ci95;
    summary.ci_method = intervals->method;
  }
  if (const std::optional<PairedInference> chosen = long_range_inference(row)) {
    summary.delta_nll_long_range_ci95 = chosen->inference.ci95;
    summary.long_range_ci_method = chosen->method;
  }
}

void set_distribution(MethodSummary& summary, const MethodResult& run) {
  const std::optional<TokenDistribution> tokens = token_distribution(run);
  if (!tokens) return;
  summary.kl_median = tokens->kl_median;
  summary.kl_p90 = tokens->kl_p90;
  summary.kl_p95 = tokens->kl_p95;
  summary.kl_p99 = tokens->kl_p99;
  summary.kl_p999 = tokens->kl_p999;
  summary.kl_max = tokens->kl_max;
  summary.rms_delta_p = tokens->rms_delta_p;
}

// How far every method is above the best row that knows the future.
void set_gaps(const ComparisonResult& result, std::vector<MethodSummary>& summaries) {
  std::optional<double> bound;
  for (size_t i = 0; i < summaries.size(); ++i) {
    const std::optional<double>& delta = summaries[i].delta_nll;
    if (result.methods[i].non_causal && delta && (!bound || *delta < *bound)) bound = delta;
  }
  for (size_t i = 0; bound && i < summaries.size(); ++i) {
    const MethodResult& row = result.methods[i];
    if (!row.reference && !row.non_causal && summaries[i].delta_nll)
      summaries[i].gap_to_oracle = *summaries[i].delta_nll - *bound;
  }
}

}  // namespace

MethodSummary summarise(const MethodResult& result, Figures figures) {
  MethodSummary summary;
  if (result.status == Status::kSkipped || result.status == Status::kFailed ||
      result.status == Status::kInfeasible) {
    return summary;
  }
  if (!result.seed_results.empty()) {
    summary = summarise_runs(result.seed_results, figures);
    if (result.status == Status::kInert) {
      clear_deltas(summary);
    } else if (figures == Figures::kAll) {
      set_intervals(summary, result);
    }
    return summary;
  }
  if (result.documents.empty()) return summary;
  const DocumentResult sum = add_up(result.documents);
  set_quality(summary, sum, result.status == Status::kInert);
  set_cost(summary, sum, result.documents.size());
  if (result.effective_window) summary.effective_window = static_cast<double>(*result.effective_window);
  if (result.status == Status::kInert || figures == Figures::kSums) return summary;
  set_intervals(summary, result);
  set_distribution(summary, result);
  return summary;
}

std::vector<MethodSummary> summarise_all(const ComparisonResult& result) {
  std::vector<MethodSummary> summaries;
  std::vector<std::optional<double>> p;
  for (const MethodResult& row : result.methods) {
    summaries.push_back(summarise(row, result.partial ? Figures::kSums : Figures::kAll));
    if (!result.long_range) summaries.back().long_range_tokens.reset();
    const bool acted = row.status == Status::kOk || row.status == Status::kFallback;
    p.push_back(acted && !row.reference && !row.non_causal ? summaries.back().delta_nll_p : std::nullopt);
    if (result.margin && !row.reference && summaries.back().delta_nll_ci95)
      summaries.back().verdict = margin_verdict(*summaries.back().delta_nll_ci95, *result.margin);
  }
  const std::vector<std::optional<double>> adjusted = holm(p);
  for (size_t i = 0; i < adjusted.size(); ++i) summaries[i].p_holm = adjusted[i];
  set_gaps(result, summaries);
  const std::vector<std::optional<bool>> front = pareto_front(result, summaries);
  for (size_t i = 0; i < front.size(); ++i) summaries[i].pareto = front[i];
  return summaries;
}

std::optional<double> kv_ratio(const MethodSummary& summary) {
  if (!summary.kv_bytes || !summary.kv_bytes_baseline) return std::nullopt;
  return ratio(*summary.kv_bytes_baseline, *summary.kv_bytes);
}

}  // namespace kvlab
