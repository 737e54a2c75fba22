// Scorers that take no budget since they know what each KV head may keep: a second base class of theirs.
#pragma once

#include "cache/budget.h"

namespace kvlab {

class OwnBudgets {
 public:
  virtual ~OwnBudgets() = default;
  // The part of what is outside sinks and window that stays, of every KV head: values of `free_density`.
  virtual HeadBudgets head_budgets() const = 0;
};

}  // namespace kvlab
