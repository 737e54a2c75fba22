// For tests of kernels: random numbers, and every instruction set the machine has.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/simd_levels.h"

namespace kvlab {

constexpr double kTolerance = 2e-6;  // of float kernels, where the results are at most 1

// Numbers in [-1, 1), a pure function of the seed.
inline std::vector<float> random_floats(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 2 * entry_uniform(seed, 0, 0, 0, i) - 1;
  return out;
}

// Runs the body once per SIMD level, with and without the bfloat16 instructions.
template <typename Body>
void for_each_level(Body&& body) {
  for (int64_t level : simd_levels()) {
    SCOPED_TRACE(simd_level_name(level));
    limit_simd_level(level);
    attention_allow_bf16_instructions(false);
    body();
  }
  limit_simd_level(0);
  attention_allow_bf16_instructions(true);
  if (attention_uses_bf16_instructions()) {
    SCOPED_TRACE("AVX512_BF16");
    body();
  }
}

}  // namespace kvlab
