// A fraction of the unprotected tokens seen so far stays live, on top of the protected ones. The better
// choice for attention scores, whose scale moves with the length.
#include <cmath>

#include "cache/budget.h"

namespace kvlab {

extern const BudgetInfo kBudgetInfo_free_density;
const BudgetInfo kBudgetInfo_free_density = {
    "free_density",
    "fraction of the unprotected tokens that stays",
    real_field("free_density", {}, 0, 1, "fraction of the unprotected tokens seen that stays live"),
    /*threshold=*/false,
    /*counts_window=*/false,
    [](double density, int64_t n, int64_t protected_now) {
      return protected_now +
             static_cast<int64_t>(std::floor(static_cast<double>(n - protected_now) * density + 1e-6));
    },
    [](double density) { return density >= 1; },
};

}  // namespace kvlab
