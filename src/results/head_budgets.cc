#include "results/head_budgets.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;

bool all_alike(const std::vector<double>& shares) {
  const auto [least, most] = std::minmax_element(shares.begin(), shares.end());
  return *most - *least <= kSameShare;
}

Json table_json(const std::vector<double>& shares, int64_t layers, int64_t heads) {
  Json table = Json::array();
  for (int64_t layer = 0; layer < layers; ++layer) {
    const auto begin = shares.begin() + layer * heads;
    table.push_back(std::vector<double>(begin, begin + heads));
  }
  return table;
}

double mean_of(const double* values, int64_t count) {
  return std::accumulate(values, values + count, 0.0) / static_cast<double>(count);
}

}  // namespace

double HeadBudgetRecord::of_layer(int64_t layer) const {
  return mean_of(mean.data() + layer * heads, heads);
}

double HeadBudgetRecord::total() const {
  return mean_of(mean.data(), layers * heads);
}

std::optional<HeadBudgetRecord> head_budgets(const MethodResult& row, int64_t layers) {
  const MethodResult& run = row.seed_results.empty() ? row : row.seed_results[0];
  if (row.reference || run.documents.empty()) return std::nullopt;
  const DocumentResult& first = run.documents[0];
  HeadBudgetRecord record{
      row.name, row.recipe,   layers,          0, static_cast<int64_t>(run.documents.size()),
      first.id, first.tokens, first.head_keep, {}};
  record.heads = static_cast<int64_t>(first.head_keep.size()) / layers;
  record.mean.assign(first.head_keep.size(), 0.0);
  bool alike = true;
  for (const DocumentResult& document : run.documents) {
    KVLAB_CHECK(document.head_keep.size() == record.mean.size() && record.heads > 0);
    alike = alike && all_alike(document.head_keep);
    for (size_t i = 0; i < record.mean.size(); ++i)
      record.mean[i] += document.head_keep[i] / static_cast<double>(record.documents);
  }
  return alike ? std::nullopt : std::optional(std::move(record));
}

Json head_budgets_json(const HeadBudgetRecord& record) {
  return {{"keep", table_json(record.mean, record.layers, record.heads)},
          {"measured",
           {{"name", record.name},
            {"recipe", record.recipe},
            {"documents", record.documents},
            {"mean_keep", record.total()}}},
          {"first_document",
           {{"id", record.first_document},
            {"tokens", record.first_tokens},
            {"keep", table_json(record.first, record.layers, record.heads)}}}};
}

}  // namespace kvlab
