#include "results/perplexity_csv.h"

#include <cmath>

#include <fmt/format.h>

#include "results/csv.h"
#include "results/perplexity_statistics.h"

namespace kvlab {

namespace {

std::string window_line(const PerplexityRow& row, const MethodResult& run, const DocumentResult& window,
                        const WindowRun& own) {
  const auto scored = static_cast<double>(window.tokens_scored);
  const bool has_loss = window.tokens_scored > 0;
  const double nll = window.nll_sum / scored;
  const std::string delta =
      has_loss && row.result.status != Status::kInert ? fmt::format("{}", window.delta_nll_sum / scored) : "";
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{:.6f},{:.6f},{}\n", window.index, csv_text(window.id),
                     own.first, window.tokens, window.tokens_scored, has_loss ? fmt::format("{}", nll) : "",
                     has_loss ? fmt::format("{}", std::exp(nll)) : "", delta, window.tokens_touched,
                     own.tokens_differing, window.kv_bytes, own.prefill_seconds, window.seconds,
                     run.seed ? fmt::format("{}", *run.seed) : "");
}

std::string json_cell(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "";
  return csv_text(value.is_string() ? value.get<std::string>() : value.dump());
}

}  // namespace

std::string perplexity_csv(const PerplexityRow& row) {
  std::string text =
      "window,document,first_token,tokens,tokens_scored,nll,ppl,delta_nll,tokens_touched,tokens_differing,"
      "kv_bytes,prefill_seconds,runtime_sec,seed\n";
  size_t next = 0;
  for (const MethodResult& run : runs_of(row)) {
    for (const DocumentResult& window : run.documents)
      text += window_line(row, run, window, row.windows[next++]);
  }
  return text;
}

std::string perplexity_summary_csv(const PerplexityResult& result) {
  constexpr const char* kKeys[] = {"method",
                                   "compression_ratio",
                                   "status",
                                   "seeds",
                                   "ppl",
                                   "ppl_spread",
                                   "nll",
                                   "delta_nll",
                                   "delta_nll_spread",
                                   "delta_ppl_percent",
                                   "windows",
                                   "tokens_scored",
                                   "tokens_touched",
                                   "tokens_differing",
                                   "touched_differing",
                                   "density",
                                   "density_seen",
                                   "kv_bytes",
                                   "kv_bytes_baseline",
                                   "prefill_seconds",
                                   "runtime_sec",
                                   "total_runtime_sec",
                                   "tokens_per_second",
                                   "equal_to_baseline"};
  std::string text;
  for (const char* key : kKeys) text += std::string(key) + ",";
  text += "delta_nll_ci95_low,delta_nll_ci95_high,ci_method,recipe\n";
  for (const PerplexityRow& row : result.rows) {
    const nlohmann::ordered_json json = perplexity_row_json(row);
    for (const char* key : kKeys) text += json_cell(json.at(key)) + ",";
    const auto& interval = json.at("delta_nll_ci95");
    text += interval.is_null() ? "," : json_cell(interval[0]) + "," + json_cell(interval[1]);
    text += "," + json_cell(json.at("ci_method")) + "," + json_cell(json.at("recipe")) + "\n";
  }
  return text;
}

std::string ratio_steps_csv(const PerplexityResult& result) {
  std::string text = "method,from,to,delta_nll,ci95_low,ci95_high,ci_method\n";
  for (const RatioStep& step : ratio_steps(result)) {
    text += fmt::format("{},{},{},{}", csv_text(step.method), step.from, step.to, step.delta_nll);
    text += step.interval ? fmt::format(",{},{},{}\n", step.interval->delta_nll.ci95.low,
                                        step.interval->delta_nll.ci95.high, step.interval->method)
                          : ",,,\n";
  }
  return text;
}

}  // namespace kvlab
