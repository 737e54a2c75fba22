// Another budget's values per layer and KV head, from a file: JSON {"keep": [[0.5, 0.25], ...]}, an array of
// the KV heads' values for each layer, or {"keep": [0.5, ...]}, a value for each layer; or a safetensors file
// with a tensor `keep` of shape [layers, kv_heads] or [layers]. `size` and `free_density` likewise.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "cache/budget.h"
#include "format/json_reader.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"
#include "format/weights.h"

namespace kvlab {

namespace {

std::string known_names() {
  std::string names;
  for (const BudgetInfo* info : registry_budgets()) {
    if (info->limit && !info->bytes) names += (names.empty() ? "" : ", ") + info->name;
  }
  return names;
}

// The one budget that a file names; its other contents are given by `names`.
const BudgetInfo& budget_of(const std::string& path, const std::vector<std::string>& names) {
  const BudgetInfo* found = nullptr;
  for (const BudgetInfo* info : registry_budgets()) {
    if (!info->limit || info->bytes || std::find(names.begin(), names.end(), info->name) == names.end())
      continue;
    if (found) {
      throw UserError(
          fmt::format("{}: two budgets, '{}' and '{}' (expected one)", path, found->name, info->name));
    }
    found = info;
  }
  if (!found) throw UserError(fmt::format("{}: no budget (expected one of {})", path, known_names()));
  return *found;
}

double number_of(const nlohmann::json& value, const std::string& where) {
  if (!value.is_number())
    throw UserError(fmt::format("{} is {} (expected a number)", where, json_value_text(value)));
  return value.get<double>();
}

HeadBudgets read_json(const std::string& path) {
  const MappedFile file(path);
  const nlohmann::json json = parse_json(file.text(), path);
  if (!json.is_object()) {
    throw UserError(fmt::format("{} holds {} (expected an object, {{\"keep\": [[...], ...]}})", path,
                                json_value_text(json)));
  }
  std::vector<std::string> names;
  for (const auto& [name, value] : json.items()) names.push_back(name);
  HeadBudgets table;
  table.budget = budget_of(path, names).name;
  const nlohmann::json& layers = json.at(table.budget);
  if (!layers.is_array() || layers.empty()) {
    throw UserError(fmt::format("{}: '{}' is {} (expected an array with an element for each layer)", path,
                                table.budget, json_value_text(layers)));
  }
  table.layers = static_cast<int>(layers.size());
  table.heads = layers[0].is_array() ? static_cast<int>(layers[0].size()) : 1;
  for (int layer = 0; layer < table.layers; ++layer) {
    const std::string where = fmt::format("{}: '{}' of layer {}", path, table.budget, layer);
    const nlohmann::json& heads = layers[layer];
    if (heads.is_array() != layers[0].is_array() ||
        (heads.is_array() && (heads.empty() || heads.size() != layers[0].size()))) {
      throw UserError(where +
                      " is not like that of layer 0 (expected a number each, or as many numbers each as "
                      "there are KV heads)");
    }
    if (!heads.is_array()) table.values.push_back(number_of(heads, where));
    for (size_t head = 0; heads.is_array() && head < heads.size(); ++head)
      table.values.push_back(number_of(heads[head], where + fmt::format(", head {}", head)));
  }
  return table;
}

HeadBudgets read_tensor(const std::string& path) {
  const auto file = open_safetensors(path);
  HeadBudgets table;
  table.budget = budget_of(path, file->names()).name;
  const std::vector<int64_t> shape = file->shape(table.budget);
  if (shape.size() > 2) {
    throw UserError(fmt::format("{}: tensor '{}' has shape {} (expected [layers, kv_heads] or [layers])",
                                path, table.budget, shape_text(shape)));
  }
  table.layers = static_cast<int>(shape[0]);
  table.heads = shape.size() == 2 ? static_cast<int>(shape[1]) : 1;
  const std::vector<float> values = file->read(table.budget, shape);
  // 0.3 as a float is 0.300000012 as a double: seven digits give back what was meant.
  for (const float value : values) table.values.push_back(std::stod(fmt::format("{}", value)));
  return table;
}

void check_range(const HeadBudgets& table, const Field& field) {
  for (size_t i = 0; i < table.values.size(); ++i) {
    const double value = table.values[i];
    const bool whole = field.type != Field::Type::kInt || value == std::floor(value);
    if (whole && value >= field.least && value <= field.most) continue;  // NaN fails
    const int layer = static_cast<int>(i) / table.heads, head = static_cast<int>(i) % table.heads;
    throw UserError(fmt::format("{}: '{}' of layer {}, head {} is {} (expected {})", table.source,
                                table.budget, layer, head, value, field.range_text()));
  }
}

HeadBudgets read(const std::string& path) {
  HeadBudgets table = path.ends_with(".safetensors") ? read_tensor(path) : read_json(path);
  table.source = table.written = path;
  check_range(table, budget_of(path, {table.budget}).field);
  return table;
}

}  // namespace

extern const BudgetInfo kBudgetInfo_budget;
const BudgetInfo kBudgetInfo_budget = {
    "budget",
    "keep, size or free_density per layer and KV head, from a file",
    path_field("budget",
               "JSON or safetensors file with one value for each layer, or for each KV head of each layer"),
    /*threshold=*/false,
    /*counts_window=*/false,
    nullptr,
    nullptr,
    read,
};

}  // namespace kvlab
