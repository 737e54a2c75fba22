// Every unprotected entry whose score is below the threshold goes, per entry, layer and KV head; how much is
// kept follows from the scores (DMS, KVzap). A higher threshold evicts more.
#include "cache/budget.h"

namespace kvlab {

extern const BudgetInfo kBudgetInfo_threshold;
const BudgetInfo kBudgetInfo_threshold = {
    "threshold",
    "entries with a score below it go",
    real_field("threshold", {}, -1e30, 1e30, "entries with a score below it are evicted"),
    /*threshold=*/true,
    /*counts_window=*/false,
    nullptr,
    nullptr,
};

}  // namespace kvlab
