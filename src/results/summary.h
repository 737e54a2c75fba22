// The figures people read, computed from a row's sums. A figure that does not apply is null, never zero.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "results/record.h"
#include "results/statistics.h"

namespace kvlab {

struct MethodSummary {
  std::optional<double> nll;  // token-weighted over all documents
  std::optional<double> ppl;  // exp(nll)
  // Against the baseline on the same tokens; null for INERT rows, whose zero would say "free" where nothing
  // was done.
  std::optional<double> delta_nll;
  std::optional<double> delta_ppl;
  std::optional<double> delta_ppl_percent;
  std::optional<double> kl_mean;
  std::optional<double> top1_agreement;
  std::optional<double> density;
  std::optional<double> density_outside_window;
  std::optional<double> density_compressible;
  std::optional<double> density_outside_effective_window;
  std::optional<double> density_seen;
  std::optional<double> effective_window;
  std::optional<double> kv_bytes;           // mean over documents, at their ends
  std::optional<double> kv_bytes_peak;      // the largest of any document
  std::optional<double> kv_bytes_seen;      // mean over the scored queries
  std::optional<double> kv_bytes_baseline;  // mean over documents: the dense cache
  std::optional<double> tokens_scored;
  std::optional<double> tokens_touched;
  std::optional<double> delta_nll_touched;     // mean over the touched tokens
  std::optional<double> long_range_tokens;     // chosen by the control run; null without one
  std::optional<double> delta_nll_long_range;  // mean over them
  std::optional<double> evictions;
  std::optional<double> forced_evictions;
  std::optional<double> tokens_per_second;  // scoring speed, not deployment speed
  // Standard deviations (divisor n − 1) over seeds; null for a single run.
  std::optional<double> nll_spread;
  std::optional<double> ppl_spread;
  std::optional<double> delta_nll_spread;
  std::optional<double> delta_ppl_spread;
  std::optional<double> delta_ppl_percent_spread;
  // 95 % intervals of delta_nll and kl_mean and how they were computed; null for baselines, INERT rows and
  // too little data (row_statistics.h).
  std::optional<Interval> delta_nll_ci95, kl_ci95;
  std::optional<std::string> ci_method;
  std::optional<double> delta_nll_p;  // two-sided, of delta_nll = 0, unadjusted
  std::optional<Interval> delta_nll_long_range_ci95;
  std::optional<std::string> long_range_ci_method;
  // Over the scored tokens; null for the baseline and INERT rows.
  std::optional<double> kl_median, kl_p90, kl_p95, kl_p99, kl_p999, kl_max, rms_delta_p;
  // What only a whole comparison knows (summarise_all).
  std::optional<double> p_holm;         // delta_nll_p adjusted for the number of methods
  std::optional<double> gap_to_oracle;  // delta_nll minus that of the best row that knows the future
  std::optional<std::string> verdict;   // against the margin: PASS, FAIL or INCONCLUSIVE
  std::optional<bool> pareto;           // on the front of NLL and KV bytes seen (pareto.h)
  std::vector<MethodSummary> seeds;     // of a row of several seeds, one each
};

// Which figures to compute: those that are sums, whose cost is that of adding up documents, or all.
enum class Figures { kSums, kAll };

// Rows that were skipped or failed have no figures: a part of the documents compares with nothing. For a row
// of several seeds every figure is the mean over them.
MethodSummary summarise(const MethodResult& result, Figures figures = Figures::kAll);

// All rows, with Holm's adjustment over the methods that acted (status OK or FALLBACK) and, where the
// comparison has a margin, verdicts. The baselines and noise floors are not tested. A partial comparison gets
// sums only, and long_range_tokens is null in one without a control run.
std::vector<MethodSummary> summarise_all(const ComparisonResult& result);

// How many times smaller the cache is than the dense one.
std::optional<double> kv_ratio(const MethodSummary& summary);

}  // namespace kvlab
