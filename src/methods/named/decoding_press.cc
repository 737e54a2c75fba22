// The schedule of kvpress's DecodingPress with its defaults: every 512 tokens the cache is cut down to 2048
// entries a head, so between two cuts it holds up to 2559. Any other method has it too: give it size= and
// every=. Here it begins with the first token; two_phase(context=none,decode=decoding_press) begins at the
// end of the context.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_decoding_press;
const NamedInfo kNamedInfo_decoding_press = {
    "decoding_press", "DecodingPress (Knorm)", "NVIDIA/kvpress (DecodingPress); Knorm: arXiv:2406.11430",
    "every 512 tokens (every=) down to 2048 entries (size=), by Knorm", "knorm(size=2048,every=512)"};

}  // namespace kvlab
