// What a row kept in each layer and KV head at its documents' ends, in the form that `budget=FILE` reads: a
// measured allocation can be run again, with any score.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "results/record.h"

namespace kvlab {

struct HeadBudgetRecord {
  std::string name, recipe;  // of the row
  int64_t layers = 0, heads = 0;
  int64_t documents = 0;
  std::string first_document;  // its id
  int64_t first_tokens = 0;    // of the first document
  std::vector<double> first;   // [layers][heads]: fraction of the first document's tokens
  std::vector<double> mean;    // the same, mean over documents

  double of_layer(int64_t layer) const;  // mean over its heads, of `mean`
  double total() const;                  // mean over all
};

// Nothing for a row that did not run, and for one whose heads, of all layers, keep the same within
// `kSameShare`. Of a row of several seeds: the first seed's. A layer with a window keeps shares of what the
// window holds.
inline constexpr double kSameShare = 0.01;
std::optional<HeadBudgetRecord> head_budgets(const MethodResult& row, int64_t layers);

// {"keep": [[a KV head each] a layer each], ...}: the mean over documents; "first_document" has its own.
nlohmann::ordered_json head_budgets_json(const HeadBudgetRecord& record);

}  // namespace kvlab
