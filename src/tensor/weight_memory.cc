#include "tensor/weight_memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#include "base/error.h"

namespace kvlab {
namespace {

constexpr size_t kAlignment = 64, kHugePage = size_t{2} << 20, kChunk = size_t{64} << 20;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kShareChunks = false;  // a chunk of its own each, so that reading past the end is seen
constexpr size_t kChunkAlignment = kAlignment;
#else
constexpr bool kShareChunks = true;
constexpr size_t kChunkAlignment = kHugePage;
#endif

size_t round_up(size_t n, size_t unit) {
  return (n + unit - 1) / unit * unit;
}

struct Chunk {
  size_t size = 0, used = 0;
  int in_use = 0;  // allocations
};

std::byte* new_chunk(size_t size) {
  void* memory = std::aligned_alloc(kChunkAlignment, size);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // Without huge pages it is slower and no less right. Only what is touched becomes resident.
  if (kShareChunks) madvise(memory, size, MADV_HUGEPAGE);
#endif
  return static_cast<std::byte*>(memory);
}

class WeightMemory {
 public:
  void* allocate(size_t bytes) {
    const size_t size = round_up(std::max<size_t>(bytes, 1), kAlignment);
    const std::lock_guard<std::mutex> lock(mutex_);
    auto chunk = chunks_.find(current_);
    if (chunk == chunks_.end() || chunk->second.size - chunk->second.used < size) {
      const size_t chunk_size = kShareChunks ? std::max(kChunk, round_up(size, kChunkAlignment)) : size;
      current_ = new_chunk(chunk_size);
      chunk = chunks_.emplace(current_, Chunk{.size = chunk_size}).first;
    }
    std::byte* begin = chunk->first + chunk->second.used;
    chunk->second.used += size;
    ++chunk->second.in_use;
    return begin;
  }

  void free(void* pointer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto after = chunks_.upper_bound(static_cast<std::byte*>(pointer));
    KVLAB_CHECK(after != chunks_.begin());
    const auto chunk = std::prev(after);
    if (--chunk->second.in_use > 0) return;
    std::free(chunk->first);
    chunks_.erase(chunk);
  }

 private:
  std::mutex mutex_;
  std::map<std::byte*, Chunk> chunks_;  // by their first byte
  std::byte* current_ = nullptr;        // where the next allocation goes if it fits
};

// Never destroyed: weights in static objects may outlive it.
WeightMemory& weight_memory() {
  static WeightMemory* const only = new WeightMemory;
  return *only;
}

}  // namespace

void* allocate_weight_memory(size_t bytes) {
  return weight_memory().allocate(bytes);
}

void free_weight_memory(void* pointer) {
  weight_memory().free(pointer);
}

}  // namespace kvlab
