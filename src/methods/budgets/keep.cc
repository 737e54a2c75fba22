// A fraction of all tokens seen so far stays live in every KV head: k = max(1, floor(n keep)). Protected
// entries count.
#include <algorithm>
#include <cmath>

#include "cache/budget.h"

namespace kvlab {

extern const BudgetInfo kBudgetInfo_keep;
const BudgetInfo kBudgetInfo_keep = {
    "keep",
    "fraction of the tokens seen that stays",
    real_field("keep", {}, 0, 1, "fraction of the tokens seen that stays live per KV head"),
    /*threshold=*/false,
    /*counts_window=*/true,
    // 1e-6 guards against products such as 0.29 * 100 = 28.999999999999996.
    [](double keep, int64_t n, int64_t) {
      return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(n) * keep + 1e-6)));
    },
    [](double keep) { return keep >= 1; },
    /*read=*/nullptr,
    [](double keep, int64_t n) { return static_cast<double>(n) * keep; },
};

}  // namespace kvlab
