#include "reports/comparison_plots.h"

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
