// The newest fraction of all tokens: what any score must beat at the same bytes seen.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_recency;
const NamedInfo kNamedInfo_recency = {"recency", "Recency", "a control",
                                      "the newest half of the tokens so far (keep=), without sinks",
                                      "streaming_llm(sinks=0,keep=0.5)"};

}  // namespace kvlab
