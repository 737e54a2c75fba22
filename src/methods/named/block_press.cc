// What kvpress's BlockPress does to a long prompt: after each block of 128 tokens the best of what was kept
// and of the block stay, never more than the size and one block. Any other method has it too: give it size=
// (or keep=) and every=.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_block_press;
const NamedInfo kNamedInfo_block_press = {
    "block_press", "BlockPress (KeyDiff)", "NVIDIA/kvpress (BlockPress), after KeyDiff, arXiv:2504.15364",
    "after each 128 tokens (every=) the best 2048 (size=), by KeyDiff", "keydiff(size=2048,every=128)"};

}  // namespace kvlab
