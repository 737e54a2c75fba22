// cos and sin of rotary positions, and rotation undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace kvlab {

// Inverse frequencies of the rotated pairs. With dynamic NTK scaling they are those of a text that ends at
// the token: base' = theta (factor n / context - (factor - 1))^(dims / (dims - 2)) for the n-th token, n >
// context. That is what decoding token by token gives, and the only reading of it in which the past does not
// depend on the future.
class RotaryFrequencies {
 public:
  RotaryFrequencies() = default;
  RotaryFrequencies(std::vector<double> fixed) : fixed_(std::move(fixed)) {}
  RotaryFrequencies(std::initializer_list<double> fixed) : fixed_(fixed) {}
  // The frequencies theta^(-2 i / dims), scaled dynamically from `context` tokens on.
  static RotaryFrequencies dynamic(double theta, int dims, double factor, int64_t context);

  int pairs() const { return static_cast<int>(fixed_.size()); }
  std::vector<double> at(int64_t position) const;

 private:
  std::vector<double> fixed_;
  double theta_ = 0, factor_ = 1;
  int64_t context_ = 0;  // 0: not dynamic
};

// cos and sin of positions first, first + 1, ...: [rows][pairs], both times `magnitude`.
struct RotaryTable {
  RotaryTable(const RotaryFrequencies& frequencies, int64_t first, int rows, double magnitude = 1.0);
  const float* cos_row(int row) const { return cos.data() + static_cast<size_t>(row) * pairs; }
  const float* sin_row(int row) const { return sin.data() + static_cast<size_t>(row) * pairs; }
  int pairs;
  std::vector<float> cos, sin;
};

// cos and sin, [pairs] each, of the rotation that turns a key from position `from` to position `to`, each
// with its own frequencies. A magnitude that keys already have stays in them.
void rotation_between(const RotaryFrequencies& frequencies, int64_t from, int64_t to, float* cos, float* sin);

// Undoes rotate_half_split on one head vector: x has head_dim values, of which the first 2 pairs are rotated.
void unrotate_half_split(const float* x, const float* cos, const float* sin, int pairs, int head_dim,
                         double* out);

}  // namespace kvlab
