// A fixed number of entries stays live in every KV head, protected ones included.
#include "cache/budget.h"

namespace kvlab {

extern const BudgetInfo kBudgetInfo_size;
const BudgetInfo kBudgetInfo_size = {
    "size",
    "entries that stay per KV head",
    int_field("size", {}, 1, 1 << 30, "entries that stay live per KV head, protected ones included"),
    /*threshold=*/false,
    /*counts_window=*/true,
    [](double size, int64_t, int64_t) { return static_cast<int64_t>(size); },
    [](double) { return false; },
};

}  // namespace kvlab
