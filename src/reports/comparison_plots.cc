#include "reports/comparison_plots.h"

#include <algorithm>

#include "results/summary.h"

namespace kvlab {

std::optional<LinePlot> quality_plot(const ComparisonResult& result) {
  const std::optional<double> dense = summarise(result.methods[0]).kv_bytes_seen;
  if (!dense || *dense <= 0) return std::nullopt;
  LinePlot plot;
  plot.title = "Quality against the size of the cache that was seen";
  plot.subtitle = run_subtitle(result.config);
  plot.x.label = "KV bytes seen by the scored queries, fraction of dense (further left: more compression)";
  plot.y.label = kDeltaNllAxis;
  plot.baseline = 0;
  plot.baseline_name = "Baseline";
  for (const MethodResult& row : result.methods) {
    const MethodSummary summary = summarise(row);
    if (row.reference || !summary.delta_nll || !summary.kv_bytes_seen) continue;
    PlotPoint point{*summary.kv_bytes_seen / *dense, *summary.delta_nll, {}, {}, row.name};
    if (summary.delta_nll_ci95) {
      point.low = summary.delta_nll_ci95->low;
      point.high = summary.delta_nll_ci95->high;
    }
    plot.series.push_back({row.name, {point}});
  }
  return plot.series.empty() ? std::nullopt : std::optional(plot);
}

namespace {

constexpr double kMebibyte = 1 << 20;

// Why a row with figures takes no part, for its label; "": it does.
std::string apart_text(const MethodResult& row) {
  if (row.trained_on_this.found()) return std::string(" [") + kTrainedOnThis + "]";
  if (row.control || row.non_causal) return "";  // its name says so
  return row.status == Status::kOk ? "" : std::string(" [") + status_name(row.status) + "]";
}

// The points of the front from few bytes to many.
PlotSeries front_series(const ComparisonResult& result, const std::vector<MethodSummary>& summaries) {
  PlotSeries front{"Pareto front", {}};
  for (size_t i = 0; i < summaries.size(); ++i) {
    const MethodSummary& s = summaries[i];
    if (i != 0 && !s.pareto.value_or(false)) continue;
    front.points.push_back(
        {*s.kv_bytes_seen / kMebibyte, *s.ppl, {}, {}, i == 0 ? result.methods[0].name : ""});
  }
  std::sort(front.points.begin(), front.points.end(),
            [](const PlotPoint& a, const PlotPoint& b) { return std::pair(a.x, a.y) < std::pair(b.x, b.y); });
  return front;
}

}  // namespace

std::optional<LinePlot> pareto_plot(const ComparisonResult& result) {
  const std::vector<MethodSummary> summaries = summarise_all(result);
  const auto takes_part = [](const MethodSummary& s) { return s.pareto.has_value(); };
  if (std::count_if(summaries.begin(), summaries.end(), takes_part) < 2) return std::nullopt;
  if (!summaries[0].ppl || !summaries[0].kv_bytes_seen) return std::nullopt;
  LinePlot plot;
  plot.title = "Perplexity against the bytes seen: lower and further left is better";
  plot.subtitle = run_subtitle(result.config);
  plot.x.label = "KV bytes seen by a scored query, mean, MiB";
  plot.y.label = "PPL";
  plot.series.push_back(front_series(result, summaries));
  for (size_t i = 1; i < summaries.size(); ++i) {
    const MethodResult& row = result.methods[i];
    const MethodSummary& s = summaries[i];
    if (row.reference || !s.ppl || !s.kv_bytes_seen) continue;
    const std::string label = row.name + apart_text(row);
    plot.series.push_back({label, {{*s.kv_bytes_seen / kMebibyte, *s.ppl, {}, {}, label}}});
  }
  return plot;
}

std::string run_subtitle(const nlohmann::ordered_json& config) {
  std::string text;
  const auto add = [&](const std::string& words) { text += (text.empty() ? "" : " · ") + words; };
  for (const char* key : {"model", "dataset"}) {
    if (config.contains(key) && config[key].is_string()) add(config[key].get<std::string>());
  }
  for (const char* key : {"documents", "windows"}) {
    if (!config.contains(key) || !config[key].is_number_integer()) continue;
    const std::string count = config[key].dump();
    add(count == "1" ? std::string("1 ") + std::string(key, std::string(key).size() - 1) : count + " " + key);
  }
  if (config.contains("token_set") && config["token_set"].is_string())
    add("token set " + config["token_set"].get<std::string>());
  return text;
}

}  // namespace kvlab
