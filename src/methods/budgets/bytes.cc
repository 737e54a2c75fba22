// Bytes of keys and values per token seen, over all layers and KV heads: what is left of a cache of so many
// bytes per token. The same as keep = bytes / bytes per token of the uncompressed cache, whose type is the
// run's (--kv_dtype, or a codec). Positions and scores that a method carries come on top and are listed
// apart.
#include <algorithm>
#include <cmath>

#include "cache/budget.h"

namespace kvlab {

extern const BudgetInfo kBudgetInfo_bytes;
const BudgetInfo kBudgetInfo_bytes = {
    "bytes",
    "bytes of keys and values per token seen, in all layers together",
    real_field("bytes", {}, 1, 1e9, "bytes of keys and values per token seen that stay, over all layers"),
    /*threshold=*/false,
    /*counts_window=*/true,
    [](double share, int64_t n, int64_t) {
      return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(n) * share + 1e-6)));
    },
    /*neutral=*/nullptr,
    /*read=*/nullptr,
    [](double share, int64_t n) { return static_cast<double>(n) * share; },
    /*bytes=*/true,
};

}  // namespace kvlab
