// Budgets say which entries go, and when: `threshold` compares scores, the others bound how many entries of a
// KV head stay live. One value holds for all heads, or a table has one for each. A budget is one file of
// src/methods/budgets that defines `const BudgetInfo kBudgetInfo_<file name>`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/fields.h"

namespace kvlab {

// The limits of a budget per layer and KV head.
struct HeadBudgets {
  std::string source;     // where they are from, as errors name it: the file
  std::string parameter;  // as a recipe writes them: parameter="written"
  std::string written;
  std::string budget;  // whose values these are: "keep"
  int layers = 0;
  int heads = 0;               // 1: one value for all heads of a layer
  std::vector<double> values;  // [layers][heads]
  double value(int layer, int head) const {
    return values[static_cast<size_t>(layer) * heads + (heads == 1 ? 0 : head)];
  }
};

struct BudgetInfo {
  std::string name;  // the file's name; its parameter has the same name
  std::string summary;
  Field field;                 // the one value, with its range
  bool threshold = false;      // entries with a score below the value go; `limit` is not used
  bool counts_window = false;  // the limit is a total that the protected entries count in (keep, size)
  // Entries that may stay live in a KV head after n tokens, `protected_now` of them protected.
  std::function<int64_t(double value, int64_t n, int64_t protected_now)> limit;
  // True when no entry can ever go (keep=1).
  std::function<bool(double value)> neutral;
  // A budget whose text holds another one's values, or names a file of them: reads them. Null for all others.
  std::function<HeadBudgets(const std::string& text)> read = {};
  // The limit before it is cut to whole entries, for sharing it out over layers. Null: as limit().
  std::function<double(double value, int64_t n)> exact = {};
  // The value is in bytes per token: limit() is asked with it as a fraction of the uncompressed cache's.
  bool bytes = false;
};

const std::vector<const BudgetInfo*>& registry_budgets();

}  // namespace kvlab
