// For tests of kernels: entries in pages, each in memory of exactly its size so that a sanitizer sees every
// read past a page's end, beside the same entries as plain floats.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/entry_page.h"
#include "kernels/every_level.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// What unused slots hold: as finite as the kernels need, and large enough to show wherever it is used.
constexpr float kLeftover = 1000.0f;

inline float rounded_to(float x, DType type) {
  return type == DType::kF32 ? x : to_float(to_bf16(x));
}

class TestPages {
 public:
  TestPages(int head_dim, DType type) : head_dim_(head_dim), type_(type) {}

  // One entry after the other; they are written one by one in plain code.
  void append(const float* k, const float* v) {
    if (size_ % kPageSlots == 0) add_page();
    const int slot = size_ % kPageSlots;
    for (int i = 0; i < head_dim_; ++i) {
      put(k_.back(), key_element(type_, slot, i), k[i]);
      put(v_.back(), value_element(type_, slot, i, head_dim_), v[i]);
      keys_.push_back(rounded_to(k[i], type_));
      values_.push_back(rounded_to(v[i], type_));
    }
    ++size_;
  }
  void append_random(int count, uint64_t seed) {
    for (int i = 0; i < count; ++i)
      append(random_floats(head_dim_, seed + 2 * i).data(),
             random_floats(head_dim_, seed + 2 * i + 1).data());
  }

  int size() const { return size_; }
  int pages() const { return static_cast<int>(k_.size()); }
  const float* key(int slot) const { return &keys_[static_cast<size_t>(slot) * head_dim_]; }
  const float* value(int slot) const { return &values_[static_cast<size_t>(slot) * head_dim_]; }
  PageData data(int page) { return {k_[page].data(), v_[page].data()}; }
  std::vector<ConstPageData> all() const {
    std::vector<ConstPageData> out;
    for (int page = 0; page < pages(); ++page) out.push_back({k_[page].data(), v_[page].data()});
    return out;
  }

 private:
  void add_page() {
    k_.emplace_back(page_key_elements(head_dim_) * element_size(type_));
    v_.emplace_back(page_value_elements(head_dim_) * element_size(type_));
    for (size_t i = 0; i < page_key_elements(head_dim_); ++i) put(k_.back(), i, kLeftover);
    for (size_t i = 0; i < page_value_elements(head_dim_); ++i) put(v_.back(), i, kLeftover);
  }
  void put(Buffer<char>& page, size_t index, float x) {
    const BF16 narrow = to_bf16(x);
    if (type_ == DType::kF32)
      std::memcpy(page.data() + index * sizeof x, &x, sizeof x);
    else
      std::memcpy(page.data() + index * sizeof narrow, &narrow, sizeof narrow);
  }

  int head_dim_, size_ = 0;
  DType type_;
  std::vector<Buffer<char>> k_, v_;
  std::vector<float> keys_, values_;  // as stored, [size][head_dim]
};

}  // namespace kvlab
