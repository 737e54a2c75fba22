// The live entries of one layer and KV head, in pages. Slots [0, size) are live; an eviction moves the last
// entry into the hole, so order means nothing and positions are stored as soon as entries are missing. Forks
// share pages, copied on write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// Bytes allocated for a cache, listed apart; they add up to what the allocator handed out.
struct CacheBytes {
  int64_t payload = 0;    // keys and values of live entries
  int64_t positions = 0;  // of live entries, where entries are missing
  int64_t scores = 0;     // what scorers carry per live entry
  int64_t slack = 0;      // unused slots of pages
  int64_t total() const { return payload + positions + scores + slack; }
  CacheBytes& operator+=(const CacheBytes& other);
};

inline constexpr int kPageSlots = 16;

// n stored elements of a key or a value as floats.
void row_to_float(const std::byte* row, DType type, int n, float* out);

class HeadStore {
 public:
  // `state_width` floats per entry are carried for the scorer.
  HeadStore(int head_dim, DType type, int state_width);

  int size() const { return size_; }
  DType type() const { return type_; }
  int state_width() const { return state_width_; }
  int32_t position(int slot) const;
  std::vector<int32_t> positions() const;
  float state(int w, int slot) const;
  // Keys and values of a slot: head_dim elements of type().
  const std::byte* key(int slot) const;
  const std::byte* value(int slot) const;

  // `key` and `value` point at head_dim elements of type(); `state` at state_width floats (may be null when
  // that is 0).
  void append(const std::byte* key, const std::byte* value, int32_t position, const float* state);
  // Slots in descending order.
  void remove(std::span<const int32_t> slots);
  // Forgets all but the first `width` floats carried per entry.
  void narrow_state(int width);
  void clear();

  // The pages as the attention kernel reads them. `evict_at` has size() values by slot, or is null.
  void add_spans(const int32_t* evict_at, std::vector<EntrySpan>& spans) const;
  CacheBytes bytes() const;
  // O(1): what bytes().total() says.
  int64_t allocated() const;

 private:
  struct Page {
    Buffer<std::byte, Account::kCache> kv;       // [K: 16 x head_dim][V: 16 x head_dim]
    Buffer<int32_t, Account::kCache> positions;  // 16, or none while no entry is missing
    Buffer<float, Account::kCache> state;        // [state_width][16]
  };
  Page& writable(int page);
  std::shared_ptr<Page> new_page() const;
  void store_positions();
  void move(int from, int to);
  size_t row_bytes() const { return static_cast<size_t>(head_dim_) * element_size(type_); }

  int head_dim_;
  DType type_;
  int state_width_;
  int size_ = 0;
  bool has_positions_ = false;  // false: slot s holds position s
  std::vector<std::shared_ptr<Page>> pages_;
};

}  // namespace kvlab
