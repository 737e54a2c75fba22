#include "cache/query_memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/moments.h"
#include "kernels/rotary_table.h"

namespace kvlab {

namespace {

constexpr int kMomentRows = 64;  // rows without rotation that are held at a time

}  // namespace

QueryMemory::QueryMemory(int group, int head_dim, int recent, bool moments)
    : group_(group),
      head_dim_(head_dim),
      recent_(recent),
      ring_(static_cast<size_t>(std::max(0, recent)) * group * head_dim),
      sums_(moments ? static_cast<size_t>(group) * head_dim : 0),
      outers_(moments ? static_cast<size_t>(group) * head_dim * head_dim : 0) {
  sums_.zero();
  outers_.zero();
}

QueryMemory::QueryMemory(const QueryMemory& other)
    : group_(other.group_),
      head_dim_(other.head_dim_),
      recent_(other.recent_),
      seen_(other.seen_),
      counted_(other.counted_),
      ring_(other.ring_.size()),
      sums_(other.sums_.size()),
      outers_(other.outers_.size()) {
  if (ring_.size()) std::memcpy(ring_.data(), other.ring_.data(), ring_.bytes());
  if (sums_.size()) std::memcpy(sums_.data(), other.sums_.data(), sums_.bytes());
  if (outers_.size()) std::memcpy(outers_.data(), other.outers_.data(), outers_.bytes());
}

void QueryMemory::append_rows(const QueryRows& queries, int64_t first_counted) {
  if (recent_ != 0) remember(queries);
  seen_ += queries.rows;
  const auto first = static_cast<int>(std::clamp<int64_t>(first_counted, 0, queries.rows));
  if (!sums_.size() || first == queries.rows) return;
  counted_ += queries.rows - first;
  add_to_moments(queries, first);
}

// The ring is as long as the memory: of more rows than that, the last ones stay.
void QueryMemory::remember(const QueryRows& queries) {
  const int64_t row = static_cast<int64_t>(group_) * head_dim_;
  if (recent_ < 0) make_room(seen_ + queries.rows);
  const auto places = static_cast<int64_t>(ring_.size()) / row;
  for (int64_t r = std::max<int64_t>(0, queries.rows - places); r < queries.rows; ++r) {
    float* slot = ring_.data() + ((seen_ + r) % places) * row;
    for (int g = 0; g < group_; ++g) {
      std::memcpy(slot + g * head_dim_, queries.q + r * queries.q_row + g * queries.q_head,
                  head_dim_ * sizeof(float));
    }
  }
}

// Of a memory of all queries, which is never full.
void QueryMemory::make_room(int64_t rows) {
  const auto needed = static_cast<size_t>(rows) * group_ * head_dim_;
  if (needed <= ring_.size()) return;
  Buffer<float, Account::kCache> larger(
      std::max(needed, ring_.size() * 3 / 2 / head_dim_ / group_ * head_dim_ * group_));
  if (ring_.size()) std::memcpy(larger.data(), ring_.data(), ring_.bytes());
  ring_ = std::move(larger);
}

void QueryMemory::add_to_moments(const QueryRows& queries, int first) {
  const int64_t d = head_dim_;
  Buffer<double> plain(static_cast<size_t>(std::min(kMomentRows, queries.rows - first)) * d);
  for (; first < queries.rows; first += kMomentRows) {
    const int rows = std::min(kMomentRows, queries.rows - first);
    for (int g = 0; g < group_; ++g) {
      for (int r = 0; r < rows; ++r) {
        const int64_t at = first + r;
        unrotate_half_split(queries.q + at * queries.q_row + g * queries.q_head,
                            queries.cos + at * queries.pairs, queries.sin + at * queries.pairs, queries.pairs,
                            head_dim_, plain.data() + r * d);
      }
      add_moments(plain.data(), rows, head_dim_, sums_.data() + g * d, outers_.data() + g * d * d);
    }
  }
}

void QueryMemory::copy_recent(float* out) const {
  const int64_t row = static_cast<int64_t>(group_) * head_dim_;
  const int rows = recent_rows();
  const auto places = static_cast<int64_t>(ring_.size()) / row;
  for (int r = 0; r < rows; ++r) {
    std::memcpy(out + r * row, ring_.data() + ((seen_ - rows + r) % places) * row, row * sizeof(float));
  }
}

}  // namespace kvlab
