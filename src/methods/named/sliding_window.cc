// A sliding window without sinks, the floor that attention sinks were found against.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_sliding_window;
const NamedInfo kNamedInfo_sliding_window = {
    "sliding_window", "Sliding window", "a control; Beltagy, Peters, Cohan: Longformer, arXiv:2004.05150",
    "the newest 128 tokens (window=) and nothing else", "streaming_llm(sinks=0,window=128)"};

}  // namespace kvlab
