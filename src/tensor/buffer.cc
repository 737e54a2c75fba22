#include "tensor/buffer.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "tensor/weight_memory.h"

namespace kvlab {

namespace {
std::atomic<int64_t> counters[3];
constexpr size_t kAlignment = 64;
}  // namespace

int64_t allocated_bytes(Account account) {
  return counters[static_cast<int>(account)].load();
}

void* allocate_counted(size_t bytes, Account account) {
  void* pointer = account == Account::kWeights
                      ? allocate_weight_memory(bytes)
                      : std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!pointer) throw std::bad_alloc();
  counters[static_cast<int>(account)] += static_cast<int64_t>(bytes);
  return pointer;
}

void free_counted(void* pointer, size_t bytes, Account account) {
  account == Account::kWeights ? free_weight_memory(pointer) : std::free(pointer);
  counters[static_cast<int>(account)] -= static_cast<int64_t>(bytes);
}

}  // namespace kvlab
