// What commands draw and print of sweeps and trade-offs, beside their main table.
#pragma once

#include <cstdio>
#include <filesystem>
#include <vector>

#include "cache/recipe.h"
#include "reports/table.h"
#include "results/perplexity_record.h"
#include "results/record.h"

namespace kvlab {

// quality_vs_seen.png and pareto.png, where there is something to show; says where they are, on `out`.
void draw_quality(const ComparisonResult& result, const std::filesystem::path& folder, std::FILE* out);

// The rows that `specs` made are one method at several thresholds: prints their table on standard output (and
// words on `out`), writes threshold_sweep.csv and, with `plots`, threshold_sweep.png.
void report_sweep(const ComparisonResult& result, const std::vector<MethodSpec>& specs, TableFormat format,
                  const std::filesystem::path& folder, bool plots, std::FILE* out);

// ppl_vs_ratio.png and runtime_vs_ratio.png, where rows have ratios.
void draw_ratios(const PerplexityResult& result, const std::filesystem::path& folder, std::FILE* out);

}  // namespace kvlab
