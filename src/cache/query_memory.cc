#include "cache/query_memory.h"

#include <cstring>
#include <vector>

#include "kernels/rotary_table.h"

namespace kvlab {

QueryMemory::QueryMemory(int group, int head_dim, int recent, bool moments)
    : group_(group),
      head_dim_(head_dim),
      recent_(recent),
      ring_(static_cast<size_t>(recent) * group * head_dim),
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

void QueryMemory::append(const float* q, int64_t q_head, const float* cos, const float* sin, int pairs,
                         bool counted) {
  const int64_t row = static_cast<int64_t>(group_) * head_dim_;
  if (recent_ > 0) {
    float* slot = ring_.data() + (seen_ % recent_) * row;
    for (int g = 0; g < group_; ++g)
      std::memcpy(slot + g * head_dim_, q + g * q_head, head_dim_ * sizeof(float));
  }
  ++seen_;
  if (!counted || !sums_.size()) return;
  ++counted_;
  std::vector<double> x(head_dim_);
  for (int g = 0; g < group_; ++g) {
    unrotate_half_split(q + g * q_head, cos, sin, pairs, head_dim_, x.data());
    double* sums = sums_.data() + static_cast<int64_t>(g) * head_dim_;
    double* outer = outers_.data() + static_cast<int64_t>(g) * head_dim_ * head_dim_;
    for (int i = 0; i < head_dim_; ++i) {
      sums[i] += x[i];
      double* to = outer + static_cast<int64_t>(i) * head_dim_;
      for (int j = 0; j <= i; ++j) to[j] += x[i] * x[j];  // symmetric: the lower triangle is enough
    }
  }
}

void QueryMemory::copy_recent(float* out) const {
  const int64_t row = static_cast<int64_t>(group_) * head_dim_;
  const int rows = recent_rows();
  for (int r = 0; r < rows; ++r) {
    std::memcpy(out + r * row, ring_.data() + ((seen_ - rows + r) % recent_) * row, row * sizeof(float));
  }
}

}  // namespace kvlab
