// What `kvlab compare` writes of the budgets that methods gave to each layer and KV head.
#pragma once

#include <cstdio>
#include <filesystem>

#include "format/trained_on.h"
#include "results/record.h"

namespace kvlab {

// For each row whose heads keep different shares: <Method>_budgets.json, which `budget=FILE` reads,
// <Method>_budgets.trained_on.json, the record of the documents they were measured on, and
// <Method>_budgets.png. Says where they are, on `out`.
void write_head_budgets(const ComparisonResult& result, int64_t layers, const TrainedOn& measured_on,
                        const std::filesystem::path& folder, std::FILE* out);

}  // namespace kvlab
