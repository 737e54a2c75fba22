// A comparison as JSON: the summary that scripts read, and everything, per document.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include "results/record.h"

namespace kvlab {

// Every key is there in every row; null where it does not apply.
nlohmann::ordered_json comparison_summary_json(const ComparisonResult& result);
nlohmann::ordered_json detailed_results_json(const ComparisonResult& result);

// comparison_summary.json and detailed_results.json in `folder`, each whole or not at all. The details come
// first, so that a summary never stands without them.
void write_comparison(const ComparisonResult& result, const std::filesystem::path& folder);

}  // namespace kvlab
