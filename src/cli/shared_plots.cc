#include "cli/shared_plots.h"

#include <fmt/format.h>

#include "cli/common.h"
#include "reports/comparison_plots.h"
#include "reports/perplexity_plots.h"
#include "reports/sweep_table.h"
#include "results/atomic_file.h"

namespace kvlab {

namespace {

void draw(const std::vector<LinePlot>& panels, const std::filesystem::path& path, std::FILE* out) {
  write_plots(panels, path);
  fmt::print(out, "Plot: {}\n", path.string());
}

}  // namespace

void draw_quality(const ComparisonResult& result, const std::filesystem::path& folder, std::FILE* out) {
  if (const auto plot = quality_plot(result)) draw({*plot}, folder / "quality_vs_seen.png", out);
  if (const auto plot = pareto_plot(result)) draw({*plot}, folder / "pareto.png", out);
}

void report_sweep(const ComparisonResult& result, const std::vector<MethodSpec>& specs, TableFormat format,
                  const std::filesystem::path& folder, bool plots, std::FILE* out) {
  std::vector<std::pair<std::string, double>> thresholds;
  for (const MethodSpec& spec : specs) thresholds.emplace_back(spec.recipe, spec.policy.value);
  const ThresholdSweep sweep = threshold_sweep(result, thresholds);
  write_atomically(folder / "threshold_sweep.csv", render_sweep(sweep, TableFormat::kCsv, 0));
  fmt::print(out, "\nThe sweep over thresholds ({}/threshold_sweep.csv):\n\n", folder.string());
  fmt::print("{}", render_sweep(sweep, format, terminal_width()));
  const std::vector<LinePlot> panels = sweep_plots(sweep);
  if (plots && !panels.empty()) draw(panels, folder / "threshold_sweep.png", out);
}

void draw_ratios(const PerplexityResult& result, const std::filesystem::path& folder, std::FILE* out) {
  if (const auto plot = ppl_plot(result)) draw({*plot}, folder / "ppl_vs_ratio.png", out);
  if (const auto plot = runtime_plot(result)) draw({*plot}, folder / "runtime_vs_ratio.png", out);
}

}  // namespace kvlab
