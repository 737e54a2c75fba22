// Random scores lie in [0, 1), so a threshold of 1 evicts every entry that leaves the window: what stays must
// equal streaming_llm(sinks=4,window=128) exactly. A check of the whole path, not a method.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_random_validation;
const NamedInfo kNamedInfo_random_validation = {
    "random_validation", "Random(threshold=1.0)", "a cross-check against StreamingLLM",
    "evicts everything unprotected; must equal streaming_llm(sinks=4,window=128)",
    "random(threshold=1.0,sinks=4,window=128)"};

}  // namespace kvlab
