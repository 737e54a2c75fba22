// SlotStore: where slots lie in memory. The arithmetic is in attention_attend.cc.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/attention.h"
#include "kernels/attention_attend.h"

namespace kvlab {
namespace {

// Where element i of slot's key lies: tiles of 16 slots, the slot fastest.
size_t key_index(int slot, int i, int head_dim) {
  return static_cast<size_t>(slot / kTile) * kTile * head_dim + static_cast<size_t>(i) * kTile + slot % kTile;
}

template <typename T>
void enlarge(Buffer<T>& buffer, size_t size) {
  Buffer<T> larger(size);
  if (buffer.size()) std::memcpy(larger.data(), buffer.data(), buffer.bytes());
  // Slots not yet used are read with weight 0, and the tails of rows of V always: they must be finite.
  std::memset(static_cast<void*>(larger.data() + buffer.size()), 0, larger.bytes() - buffer.bytes());
  buffer = std::move(larger);
}

void store(float x, float& out) {
  out = x;
}
void store(float x, BF16& out) {
  out = to_bf16(x);
}
float load(float x) {
  return x;
}
float load(BF16 x) {
  return to_float(x);
}

template <typename T>
void put(Buffer<T>& keys, Buffer<T>& values, int slot, int head_dim, int v_stride, const float* k,
         const float* v) {
  T* key = &keys[key_index(slot, 0, head_dim)];
  T* value = &values[static_cast<size_t>(slot) * v_stride];
  for (int i = 0; i < head_dim; ++i) {
    store(k[i], key[i * kTile]);
    store(v[i], value[i]);
  }
}

template <typename T>
void move_slot(Buffer<T>& keys, Buffer<T>& values, int from, int to, int head_dim, int v_stride) {
  const T* key = &keys[key_index(from, 0, head_dim)];
  T* key_to = &keys[key_index(to, 0, head_dim)];
  for (int i = 0; i < head_dim; ++i) key_to[i * kTile] = key[i * kTile];
  const T* value = &values[static_cast<size_t>(from) * v_stride];
  std::copy_n(value, head_dim, &values[static_cast<size_t>(to) * v_stride]);
}

}  // namespace

SlotStore::SlotStore(int head_dim, DType type)
    : head_dim_(head_dim), v_stride_((head_dim + kTile - 1) / kTile * kTile), type_(type) {
  assert(head_dim >= 1 && head_dim <= kMaxHeadDim);
  assert(type == DType::kF32 || type == DType::kBF16);
}

void SlotStore::grow() {
  capacity_ = std::max(2 * capacity_, kTile);
  const size_t keys = static_cast<size_t>(capacity_) * head_dim_,
               values = static_cast<size_t>(capacity_) * v_stride_;
  if (type_ == DType::kF32) {
    enlarge(k32_, keys);
    enlarge(v32_, values);
  } else {
    enlarge(k16_, keys);
    enlarge(v16_, values);
  }
}

void SlotStore::append(const float* k, const float* v) {
  if (size_ == capacity_) grow();
  if (type_ == DType::kF32)
    put(k32_, v32_, size_, head_dim_, v_stride_, k, v);
  else
    put(k16_, v16_, size_, head_dim_, v_stride_, k, v);
  ++size_;
}

void SlotStore::remove(int slot) {
  assert(slot >= 0 && slot < size_);
  --size_;
  if (slot == size_) return;
  if (type_ == DType::kF32)
    move_slot(k32_, v32_, size_, slot, head_dim_, v_stride_);
  else
    move_slot(k16_, v16_, size_, slot, head_dim_, v_stride_);
}

void SlotStore::key(int slot, float* out) const {
  assert(slot >= 0 && slot < size_);
  for (int i = 0; i < head_dim_; ++i) {
    const size_t at = key_index(slot, i, head_dim_);
    out[i] = type_ == DType::kF32 ? load(k32_[at]) : load(k16_[at]);
  }
}

void SlotStore::value(int slot, float* out) const {
  assert(slot >= 0 && slot < size_);
  for (int i = 0; i < head_dim_; ++i) {
    const size_t at = static_cast<size_t>(slot) * v_stride_ + i;
    out[i] = type_ == DType::kF32 ? load(v32_[at]) : load(v16_[at]);
  }
}

void SlotStore::attend(const float* q, int group, float scale, float* weights, int64_t stride,
                       float* out) const {
  assert(group >= 1 && group <= kMaxGroup && stride >= (size_ + kTile - 1) / kTile * kTile);
  const SlotView view = {type_ == DType::kF32 ? static_cast<const void*>(k32_.data()) : k16_.data(),
                         type_ == DType::kF32 ? static_cast<const void*>(v32_.data()) : v16_.data(),
                         type_,
                         size_,
                         head_dim_,
                         v_stride_};
  attend_slots(view, q, group, scale, weights, stride, out);
}

}  // namespace kvlab
