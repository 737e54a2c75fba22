// Aligned memory that is counted: everything a KV cache owns is allocated here under Account::kCache, so that
// the bytes reported can be checked against the bytes allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace kvlab {

enum class Account { kCache, kWork, kWeights };

// Bytes now allocated through Buffer under an account, over all threads of the process.
int64_t allocated_bytes(Account account);

void* allocate_counted(size_t bytes, Account account);
void free_counted(void* pointer, size_t bytes, Account account);

// An owning array of T, aligned to 64 bytes, uninitialised after construction. Movable, not copyable: copies
// of a cache should be visible in the code.
template <typename T, Account kAccount = Account::kWork>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : size_(size) {
    if (size) data_ = static_cast<T*>(allocate_counted(size * sizeof(T), kAccount));
  }
  ~Buffer() { release(); }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // Makes room for at least `size` elements; the contents are lost when it has to grow.
  void reserve_discard(size_t size) {
    if (size > size_) *this = Buffer(size);
  }
  void zero() {
    if (size_) std::memset(data_, 0, size_ * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::span<T> span() { return {data_, size_}; }
  std::span<const T> span() const { return {data_, size_}; }

 private:
  void release() {
    if (data_) free_counted(data_, size_ * sizeof(T), kAccount);
    data_ = nullptr;
    size_ = 0;
  }
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace kvlab
