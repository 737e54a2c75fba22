#include "tensor/buffer.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace kvlab {

namespace {
std::atomic<int64_t> counters[3];
constexpr size_t kAlignment = 64;
}  // namespace

int64_t allocated_bytes(Account account) {
  return counters[static_cast<int>(account)].load();
}

void* allocate_counted(size_t bytes, Account account) {
  void* pointer = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!pointer) throw std::bad_alloc();
  counters[static_cast<int>(account)] += static_cast<int64_t>(bytes);
  return pointer;
}

void free_counted(void* pointer, size_t bytes, Account account) {
  std::free(pointer);
  counters[static_cast<int>(account)] -= static_cast<int64_t>(bytes);
}

}  // namespace kvlab
