// The live entries of one layer and KV head, in pages laid out as the attention kernels read them
// (kernels/entry_page.h). Slots [0, size) are live; an eviction moves the last entry into the hole, so order
// means nothing and positions are stored as soon as entries are missing. Forks share pages, copied on write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/entry_page.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// Bytes allocated for a cache, listed apart; they add up to what the allocator handed out.
struct CacheBytes {
  int64_t payload = 0;    // keys and values of live entries
  int64_t positions = 0;  // of live entries, where entries are missing
  int64_t scores = 0;     // what scorers carry per live entry
  int64_t slack = 0;      // unused slots of pages and of the lists beside them
  int64_t total() const { return payload + positions + scores + slack; }
  CacheBytes& operator+=(const CacheBytes& other);
};

class HeadStore {
 public:
  // `state_width` floats per entry are carried for the scorer.
  HeadStore(int head_dim, DType type, int state_width);

  int size() const { return size_; }
  DType type() const { return type_; }
  int state_width() const { return state_width_; }
  int32_t position(int slot) const { return has_positions_ ? lists_->positions[slot] : slot; }
  std::vector<int32_t> positions() const;
  // By slot, where they lie; stores them first if need be. Valid until the next append or removal.
  std::span<const int32_t> stored_positions();
  float state(int w, int slot) const;
  // The floats of number w that entries carry, by slot; rows are state_stride() apart. Valid until the next
  // append.
  float* state_row(int w);
  int64_t state_stride() const { return lists_ ? lists_->capacity : 0; }
  // A slot's key and value as head_dim floats; either may be null.
  void read(int slot, float* k, float* v) const;

  // Replaces a slot's key and value, rounded to type().
  void write(int slot, const float* k, const float* v);

  // Entries at positions first_position, ...: row r of k and v at r * stride, rounded to type(). What they
  // carry for the scorer is 0.
  void append(const float* k, const float* v, int64_t stride, int rows, int64_t first_position);
  void remove(int32_t slot);
  // Slots in descending order.
  void remove(std::span<const int32_t> slots);
  // Gives back what many removals have left empty beside the pages; once per extend is enough.
  void trim();
  // Forgets all but the first `width` floats carried per entry.
  void narrow_state(int width);
  void clear();

  std::span<const ConstPageData> pages() const { return table_; }
  // The pages as the blocked kernel reads them. `evict_at` has size() values by slot, or is null.
  void entry_pages(const int32_t* evict_at, std::vector<EntryPage>& pages) const;
  CacheBytes bytes() const;
  // O(1): what bytes().total() says.
  int64_t allocated() const;

 private:
  using Page = Buffer<std::byte, Account::kCache>;  // keys, then values
  // What is kept beside the pages, in lists over all slots: scorers and the budget read them as vectors.
  struct Lists {
    int32_t capacity = 0;
    Buffer<int32_t, Account::kCache> positions;  // [capacity], or none while no entry is missing
    Buffer<float, Account::kCache> state;        // [state_width][capacity]
  };

  size_t key_bytes() const { return page_key_elements(head_dim_) * element_size(type_); }
  size_t page_bytes() const { return key_bytes() + page_value_elements(head_dim_) * element_size(type_); }
  bool has_lists() const { return has_positions_ || state_width_ > 0; }
  PageData data_of(Page& page) const { return {page.data(), page.data() + key_bytes()}; }
  void add_page();
  PageData writable_page(int page);
  std::shared_ptr<Lists> resized_lists(int32_t capacity) const;
  Lists& writable_lists();
  void reserve_lists(int32_t size);
  void store_positions();
  void move(int from, int to);

  int head_dim_;
  DType type_;
  int state_width_;
  int size_ = 0;
  bool has_positions_ = false;  // false: slot s holds position s
  std::vector<std::shared_ptr<Page>> pages_;
  std::vector<ConstPageData> table_;  // where the pages lie
  std::shared_ptr<Lists> lists_;
};

}  // namespace kvlab
