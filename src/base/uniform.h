// Uniform random floats in bulk, as fast as memory takes them: weights and inputs whose values do not matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvlab {

// out[i]: uniform in [-scale, scale], a function of the seed and of first + i alone. Numbers repeat after
// 2^32.
void fill_uniform(uint32_t seed, uint64_t first, int64_t count, float scale, float* out);
std::vector<float> uniform_floats(uint32_t seed, size_t count, float scale);

}  // namespace kvlab
