// Memory for weights. Decoding reads all of them once per token, in order, and with pages of 4 KB finding the
// pages takes nearly half of that time. So weights are laid side by side in large chunks, for which the
// system is asked for huge pages.
#pragma once

#include <cstddef>

namespace kvlab {

// `bytes` aligned to 64 bytes; throws std::bad_alloc. Thread-safe, as is freeing.
void* allocate_weight_memory(size_t bytes);
// A chunk goes back to the system when nothing in it is in use any more.
void free_weight_memory(void* pointer);

}  // namespace kvlab
