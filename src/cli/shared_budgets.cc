#include "cli/shared_budgets.h"

#include <fmt/format.h>

#include "reports/budget_picture.h"
#include "reports/heatmap.h"
#include "results/atomic_file.h"
#include "results/head_budgets.h"

namespace kvlab {

void write_head_budgets(const ComparisonResult& result, int64_t layers, const TrainedOn& measured_on,
                        const std::filesystem::path& folder, std::FILE* out) {
  bool first = true;
  for (const MethodResult& row : result.methods) {
    const auto record = head_budgets(row, layers);
    if (!record) continue;
    if (first) fmt::print(out, "\nBudgets of rows whose heads keep different shares:\n");
    first = false;
    const std::string stem = (folder / (file_stem(row.name) + "_budgets")).string();
    write_atomically(stem + ".json", head_budgets_json(*record).dump(
                                         1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                                         "\n");
    // Whoever runs them again on the same documents has to know.
    measured_on.write(trained_on_path(stem + ".json"));
    write_budget_picture(*record, stem + ".png");
    fmt::print(out, "{}: {}.json, {}.png\n", row.name, stem, file_stem(row.name) + "_budgets");
  }
}

}  // namespace kvlab
