#include "cache/head_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/error.h"

namespace kvlab {

namespace {

// Slots that lists have room for beside `size` entries: one more than needed, so that an entry can be added
// and another removed without moving them, in steps of 16 or at most an eighth, so that growing costs little.
// It depends on nothing else, so what a cache takes does not depend on how it came about.
int32_t list_capacity(int32_t size) {
  const auto step =
      std::max(kPageSlots, static_cast<int32_t>(std::bit_floor(static_cast<uint32_t>(size) + 1)) / 8);
  return (size + step) / step * step;
}

}  // namespace

CacheBytes& CacheBytes::operator+=(const CacheBytes& other) {
  payload += other.payload;
  positions += other.positions;
  scores += other.scores;
  slack += other.slack;
  return *this;
}

HeadStore::HeadStore(int head_dim, DType type, int state_width)
    : head_dim_(head_dim), type_(type), state_width_(state_width) {}

std::vector<int32_t> HeadStore::positions() const {
  std::vector<int32_t> result(size_);
  for (int slot = 0; slot < size_; ++slot) result[slot] = position(slot);
  return result;
}

std::span<const int32_t> HeadStore::stored_positions() {
  store_positions();
  return {lists_ ? lists_->positions.data() : nullptr, static_cast<size_t>(size_)};
}

float HeadStore::state(int w, int slot) const {
  KVLAB_CHECK(w < state_width_ && slot < size_);
  return lists_->state[static_cast<size_t>(w) * lists_->capacity + slot];
}

float* HeadStore::state_row(int w) {
  KVLAB_CHECK(w < state_width_);
  Lists& lists = writable_lists();
  return lists.state.data() + static_cast<size_t>(w) * lists.capacity;
}

void HeadStore::read(int slot, float* k, float* v) const {
  read_entry(table_[slot / kPageSlots], slot % kPageSlots, head_dim_, type_, k, v);
}

void HeadStore::add_page() {
  auto page = std::make_shared<Page>(page_bytes());
  page->zero();  // the kernels read unused slots, with weight 0
  const PageData data = data_of(*page);
  table_.push_back({data.k, data.v});
  pages_.push_back(std::move(page));
}

PageData HeadStore::writable_page(int index) {
  std::shared_ptr<Page>& page = pages_[index];
  if (page.use_count() > 1) {  // shared with a fork
    auto copy = std::make_shared<Page>(page_bytes());
    std::memcpy(copy->data(), page->data(), page->bytes());
    page = std::move(copy);
    const PageData data = data_of(*page);
    table_[index] = {data.k, data.v};
  }
  return data_of(*page);
}

std::shared_ptr<HeadStore::Lists> HeadStore::resized_lists(int32_t capacity) const {
  auto lists = std::make_shared<Lists>();
  lists->capacity = capacity;
  const auto kept = static_cast<size_t>(std::min(size_, lists_ ? lists_->capacity : 0));
  if (has_positions_) {
    lists->positions = Buffer<int32_t, Account::kCache>(capacity);
    if (kept && lists_->positions.size())
      std::memcpy(lists->positions.data(), lists_->positions.data(), kept * sizeof(int32_t));
  }
  lists->state = Buffer<float, Account::kCache>(static_cast<size_t>(state_width_) * capacity);
  for (int w = 0; kept && w < state_width_; ++w) {
    std::memcpy(lists->state.data() + static_cast<size_t>(w) * capacity,
                lists_->state.data() + static_cast<size_t>(w) * lists_->capacity, kept * sizeof(float));
  }
  return lists;
}

HeadStore::Lists& HeadStore::writable_lists() {
  if (lists_.use_count() > 1) lists_ = resized_lists(lists_->capacity);  // shared with a fork
  return *lists_;
}

void HeadStore::reserve_lists(int32_t size) {
  if (has_lists() && (!lists_ || size > lists_->capacity)) lists_ = resized_lists(list_capacity(size));
}

void HeadStore::trim() {
  if (lists_ && lists_->capacity != list_capacity(size_)) lists_ = resized_lists(list_capacity(size_));
}

void HeadStore::store_positions() {
  if (has_positions_) return;
  has_positions_ = true;
  lists_ = resized_lists(lists_ ? lists_->capacity : list_capacity(size_));
  std::iota(lists_->positions.data(), lists_->positions.data() + size_, 0);
}

void HeadStore::append(const float* k, const float* v, int64_t stride, int rows, int64_t first_position) {
  if (rows == 0) return;
  if (first_position != size_) store_positions();
  reserve_lists(size_ + rows);
  if (has_lists()) {
    Lists& lists = writable_lists();
    for (int r = 0; has_positions_ && r < rows; ++r)
      lists.positions[size_ + r] = static_cast<int32_t>(first_position + r);
    for (int w = 0; w < state_width_; ++w)
      std::fill_n(lists.state.data() + static_cast<size_t>(w) * lists.capacity + size_, rows, 0.0f);
  }
  for (int r = 0; r < rows;) {
    const int slot = size_ % kPageSlots, count = std::min(kPageSlots - slot, rows - r);
    if (slot == 0) add_page();
    write_entries(k + r * stride, v + r * stride, stride, count, slot, head_dim_, type_,
                  writable_page(size_ / kPageSlots));
    size_ += count;
    r += count;
  }
}

void HeadStore::write(int slot, const float* k, const float* v) {
  KVLAB_CHECK(slot < size_);
  write_entries(k, v, head_dim_, 1, slot % kPageSlots, head_dim_, type_, writable_page(slot / kPageSlots));
}

void HeadStore::move(int from, int to) {
  copy_entry(table_[from / kPageSlots], from % kPageSlots, writable_page(to / kPageSlots), to % kPageSlots,
             head_dim_, type_);
  Lists& lists = writable_lists();
  lists.positions[to] = lists.positions[from];
  for (int w = 0; w < state_width_; ++w) {
    float* row = lists.state.data() + static_cast<size_t>(w) * lists.capacity;
    row[to] = row[from];
  }
}

void HeadStore::remove(int32_t slot) {
  remove(std::span(&slot, 1));
}

void HeadStore::remove(std::span<const int32_t> slots) {
  if (slots.empty()) return;
  store_positions();
  writable_lists();  // while size() still counts all entries that a copy must hold
  for (const int32_t slot : slots) {
    KVLAB_CHECK(slot < size_);
    --size_;
    if (slot != size_) move(size_, slot);
  }
  const size_t used = static_cast<size_t>(size_ + kPageSlots - 1) / kPageSlots;
  pages_.resize(used);
  table_.resize(used);
}

void HeadStore::narrow_state(int width) {
  KVLAB_CHECK(width <= state_width_);
  if (width == state_width_) return;
  state_width_ = width;
  if (lists_) lists_ = has_lists() ? resized_lists(lists_->capacity) : nullptr;
}

void HeadStore::clear() {
  pages_.clear();
  table_.clear();
  lists_.reset();
  size_ = 0;
  has_positions_ = false;
}

void HeadStore::entry_pages(const int32_t* evict_at, std::vector<EntryPage>& pages) const {
  pages.clear();
  for (size_t p = 0; p < table_.size(); ++p) {
    const auto first = static_cast<int32_t>(p) * kPageSlots;
    pages.push_back({table_[p].k, table_[p].v, std::min(kPageSlots, size_ - first),
                     has_positions_ ? lists_->positions.data() + first : nullptr, first,
                     evict_at ? evict_at + first : nullptr});
  }
}

int64_t HeadStore::allocated() const {
  const int64_t lists = lists_ ? static_cast<int64_t>(lists_->positions.bytes() + lists_->state.bytes()) : 0;
  return static_cast<int64_t>(pages_.size() * page_bytes()) + lists;
}

CacheBytes HeadStore::bytes() const {
  CacheBytes bytes;
  bytes.payload = int64_t{2} * size_ * head_dim_ * static_cast<int64_t>(element_size(type_));
  bytes.positions = has_positions_ ? int64_t{4} * size_ : 0;
  bytes.scores = int64_t{4} * state_width_ * size_;
  bytes.slack = allocated() - bytes.payload - bytes.positions - bytes.scores;
  return bytes;
}

}  // namespace kvlab
