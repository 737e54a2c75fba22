#include "cache/head_store.h"

#include <cstring>

#include "base/error.h"
#include "kernels/elementwise.h"

namespace kvlab {

CacheBytes& CacheBytes::operator+=(const CacheBytes& other) {
  payload += other.payload;
  positions += other.positions;
  scores += other.scores;
  slack += other.slack;
  return *this;
}

void row_to_float(const std::byte* row, DType type, int n, float* out) {
  if (type == DType::kF32) {
    std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
  } else {
    to_f32(reinterpret_cast<const BF16*>(row), n, out);
  }
}

HeadStore::HeadStore(int head_dim, DType type, int state_width)
    : head_dim_(head_dim), type_(type), state_width_(state_width) {}

int32_t HeadStore::position(int slot) const {
  return has_positions_ ? pages_[slot / kPageSlots]->positions[slot % kPageSlots] : slot;
}

std::vector<int32_t> HeadStore::positions() const {
  std::vector<int32_t> result(size_);
  for (int slot = 0; slot < size_; ++slot) result[slot] = position(slot);
  return result;
}

float HeadStore::state(int w, int slot) const {
  KVLAB_CHECK(w < state_width_ && slot < size_);
  return pages_[slot / kPageSlots]->state[w * kPageSlots + slot % kPageSlots];
}

const std::byte* HeadStore::key(int slot) const {
  return pages_[slot / kPageSlots]->kv.data() + (slot % kPageSlots) * row_bytes();
}

const std::byte* HeadStore::value(int slot) const {
  return pages_[slot / kPageSlots]->kv.data() + (kPageSlots + slot % kPageSlots) * row_bytes();
}

std::shared_ptr<HeadStore::Page> HeadStore::new_page() const {
  auto page = std::make_shared<Page>();
  page->kv = Buffer<std::byte, Account::kCache>(2 * kPageSlots * row_bytes());
  if (has_positions_) page->positions = Buffer<int32_t, Account::kCache>(kPageSlots);
  page->state = Buffer<float, Account::kCache>(static_cast<size_t>(state_width_) * kPageSlots);
  return page;
}

HeadStore::Page& HeadStore::writable(int index) {
  std::shared_ptr<Page>& page = pages_[index];
  if (page.use_count() > 1) {  // shared with a fork
    auto copy = new_page();
    std::memcpy(copy->kv.data(), page->kv.data(), page->kv.bytes());
    if (has_positions_) std::memcpy(copy->positions.data(), page->positions.data(), page->positions.bytes());
    if (state_width_) std::memcpy(copy->state.data(), page->state.data(), page->state.bytes());
    page = std::move(copy);
  }
  return *page;
}

void HeadStore::store_positions() {
  if (has_positions_) return;
  for (size_t p = 0; p < pages_.size(); ++p) {
    Page& page = writable(static_cast<int>(p));
    page.positions = Buffer<int32_t, Account::kCache>(kPageSlots);
    for (int s = 0; s < kPageSlots; ++s) page.positions[s] = static_cast<int32_t>(p) * kPageSlots + s;
  }
  has_positions_ = true;
}

void HeadStore::append(const std::byte* key, const std::byte* value, int32_t position, const float* state) {
  if (position != size_) store_positions();
  const int slot = size_ % kPageSlots;
  if (slot == 0) pages_.push_back(new_page());
  Page& page = writable(size_ / kPageSlots);
  std::memcpy(page.kv.data() + slot * row_bytes(), key, row_bytes());
  std::memcpy(page.kv.data() + (kPageSlots + slot) * row_bytes(), value, row_bytes());
  if (has_positions_) page.positions[slot] = position;
  for (int w = 0; w < state_width_; ++w) page.state[w * kPageSlots + slot] = state[w];
  ++size_;
}

void HeadStore::move(int from, int to) {
  Page& target = writable(to / kPageSlots);
  const Page& source = *pages_[from / kPageSlots];
  const int a = from % kPageSlots, b = to % kPageSlots;
  std::memcpy(target.kv.data() + b * row_bytes(), source.kv.data() + a * row_bytes(), row_bytes());
  std::memcpy(target.kv.data() + (kPageSlots + b) * row_bytes(),
              source.kv.data() + (kPageSlots + a) * row_bytes(), row_bytes());
  target.positions[b] = source.positions[a];
  for (int w = 0; w < state_width_; ++w) target.state[w * kPageSlots + b] = source.state[w * kPageSlots + a];
}

void HeadStore::remove(std::span<const int32_t> slots) {
  if (slots.empty()) return;
  store_positions();
  for (const int32_t slot : slots) {
    KVLAB_CHECK(slot < size_);
    --size_;
    if (slot != size_) move(size_, slot);
  }
  pages_.resize((size_ + kPageSlots - 1) / kPageSlots);
}

void HeadStore::narrow_state(int width) {
  KVLAB_CHECK(width <= state_width_);
  if (width == state_width_) return;
  for (size_t p = 0; p < pages_.size(); ++p) {
    Page& page = writable(static_cast<int>(p));
    Buffer<float, Account::kCache> kept(static_cast<size_t>(width) * kPageSlots);
    if (width) std::memcpy(kept.data(), page.state.data(), kept.bytes());
    page.state = std::move(kept);
  }
  state_width_ = width;
}

void HeadStore::clear() {
  pages_.clear();
  size_ = 0;
  has_positions_ = false;
}

void HeadStore::add_spans(const int32_t* evict_at, std::vector<EntrySpan>& spans) const {
  for (size_t p = 0; p < pages_.size(); ++p) {
    const Page& page = *pages_[p];
    const auto first = static_cast<int32_t>(p) * kPageSlots;
    EntrySpan span;
    span.k = page.kv.data();
    span.v = page.kv.data() + kPageSlots * row_bytes();
    span.k_stride = span.v_stride = head_dim_;
    span.count = std::min(kPageSlots, size_ - first);
    span.position = has_positions_ ? page.positions.data() : nullptr;
    span.first_position = first;
    span.evict_at = evict_at ? evict_at + first : nullptr;
    spans.push_back(span);
  }
}

int64_t HeadStore::allocated() const {
  const int64_t slot_bytes =
      static_cast<int64_t>(2 * row_bytes()) + (has_positions_ ? 4 : 0) + 4 * state_width_;
  return static_cast<int64_t>(pages_.size()) * kPageSlots * slot_bytes;
}

CacheBytes HeadStore::bytes() const {
  CacheBytes bytes;
  bytes.payload = static_cast<int64_t>(size_) * static_cast<int64_t>(2 * row_bytes());
  bytes.positions = has_positions_ ? int64_t{4} * size_ : 0;
  bytes.scores = int64_t{4} * state_width_ * size_;
  bytes.slack = allocated() - bytes.payload - bytes.positions - bytes.scores;
  return bytes;
}

}  // namespace kvlab
