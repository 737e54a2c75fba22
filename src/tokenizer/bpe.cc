#include "tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/error.h"

namespace kvlab {
namespace {

// Up to here looking through all pairs again after each merge beats the heap.
constexpr size_t kShortWord = 16;

uint64_t pack(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t merges) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, 2 * merges));
  slots_.resize(size);
  shift_ = 64 - std::countr_zero(size);
}

size_t MergeTable::place(uint64_t pair) const {
  size_t at = pair * 0x9E3779B97F4A7C15ull >> shift_;  // Fibonacci hashing; the table is at most half full
  while (slots_[at].pair != kFree && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
  return at;
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pack(left, right);
  slots_[place(pair)] = {pair, merge};
}

const Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[place(pack(left, right))];
  return slot.pair == kFree ? nullptr : &slot.merge;
}

void BpeMerger::run(std::span<const int32_t> symbols, std::vector<int32_t>& out) {
  if (symbols.size() <= kShortWord) {
    run_short(symbols, out);
  } else {
    run_long(symbols, out);
  }
}

void BpeMerger::run_short(std::span<const int32_t> symbols, std::vector<int32_t>& out) const {
  std::array<int32_t, kShortWord> ids;
  std::array<Merge, kShortWord> merges;  // of each symbol with the next
  size_t count = symbols.size();
  std::copy(symbols.begin(), symbols.end(), ids.begin());
  const Merge none{std::numeric_limits<int32_t>::max(), -1};
  const auto look_up = [&](size_t i) {
    const Merge* merge = i + 1 < count ? merges_.find(ids[i], ids[i + 1]) : nullptr;
    merges[i] = merge ? *merge : none;
  };
  for (size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].id < 0) break;
    ids[best] = merges[best].id;
    std::copy(ids.begin() + best + 2, ids.begin() + count, ids.begin() + best + 1);
    std::copy(merges.begin() + best + 2, merges.begin() + count, merges.begin() + best + 1);
    --count;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + count);
}

const Merge* BpeMerger::merge_at(int32_t left) const {
  const Link& link = links_[left];
  return link.id < 0 || link.next < 0 ? nullptr : merges_.find(link.id, links_[link.next].id);
}

void BpeMerger::push(int32_t left) {
  if (left < 0) return;
  if (const Merge* merge = merge_at(left)) {
    heap_.push_back({merge->rank, left});
    std::push_heap(heap_.begin(), heap_.end());
  }
}

void BpeMerger::run_long(std::span<const int32_t> symbols, std::vector<int32_t>& out) {
  KVLAB_CHECK(symbols.size() < size_t{std::numeric_limits<int32_t>::max()});
  const auto count = static_cast<int32_t>(symbols.size());
  links_.clear();
  heap_.clear();
  for (int32_t i = 0; i < count; ++i) links_.push_back({symbols[i], i - 1, i + 1 < count ? i + 1 : -1});
  for (int32_t i = 0; i < count; ++i) {
    if (const Merge* merge = merge_at(i)) heap_.push_back({merge->rank, i});
  }
  std::make_heap(heap_.begin(), heap_.end());
  while (!heap_.empty()) {
    const Candidate top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    // Entries are not removed when their symbols change; whatever no longer holds is passed over here.
    const Merge* merge = merge_at(top.left);
    if (merge == nullptr || merge->rank != top.rank) continue;
    Link& left = links_[top.left];
    Link& right = links_[left.next];
    left.id = merge->id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) links_[left.next].previous = top.left;
    push(left.previous);
    push(top.left);
  }
  for (int32_t i = 0; i >= 0; i = links_[i].next) out.push_back(links_[i].id);
}

}  // namespace kvlab
