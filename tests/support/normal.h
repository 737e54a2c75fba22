// Normal numbers, the same on every system (std::normal_distribution is not). tools/goldens/seeded_weights.py
// makes the same ones in Python.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/random.h"

namespace kvlab::testing {

class Normal {
 public:
  explicit Normal(uint64_t seed) : state_(mix64(seed)) {}
  float next(double mean, double deviation) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return static_cast<float>(mean + deviation * radius * std::cos(2 * std::numbers::pi * uniform()));
  }

 private:
  double uniform() { return static_cast<double>((state_ = mix64(state_)) >> 11) * 0x1p-53; }
  uint64_t state_;
};

}  // namespace kvlab::testing
