// A keep value for each layer, written in the recipe: layers="0.5,0.25,...". The same as budget= with a file
// of {"keep": [...]}. kvpress's PerLayerCompressionPress takes 1 - keep for each layer.
#include <algorithm>

#include <fmt/format.h>

#include "cache/budget.h"

namespace kvlab {

namespace {

// "0.5, 0.25" without its blanks: one text for one meaning.
std::string without_blanks(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' && c != '\t') result += c;
  }
  return result;
}

HeadBudgets read(const std::string& text) {
  static const Field keep = real_field("layers", {}, 0, 1, "fraction of the tokens seen that stays");
  HeadBudgets table;
  table.budget = "keep";
  table.heads = 1;
  table.written = without_blanks(text);
  table.source = fmt::format("layers=\"{}\"", table.written);
  for (size_t begin = 0; begin <= table.written.size();) {
    const size_t end = std::min(table.written.find(',', begin), table.written.size());
    const std::string owner = fmt::format("{}, layer {}", table.source, table.layers++);
    const Value value = keep.parse(table.written.substr(begin, end - begin), owner);
    table.values.push_back(std::get<double>(value));
    begin = end + 1;
  }
  return table;
}

}  // namespace

extern const BudgetInfo kBudgetInfo_layers;
const BudgetInfo kBudgetInfo_layers = {
    "layers",
    "keep for each layer, written out: layers=\"0.5,0.25,...\"",
    name_field("layers", {}, {}, "numbers 0..1 with commas between them, one for each layer, in quotes"),
    /*threshold=*/false,
    /*counts_window=*/false,
    nullptr,
    nullptr,
    read,
};

}  // namespace kvlab
