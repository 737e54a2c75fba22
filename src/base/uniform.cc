#include "base/uniform.h"

namespace kvlab {

void fill_uniform(uint32_t seed, uint64_t first, int64_t count, float scale, float* out) {
  const uint32_t start = static_cast<uint32_t>(first) + seed * 0x9e3779b9u;
  const float step = scale * 0x1p-31f;
  // A mixer of 32 bits (two rounds of shift and multiply), which compilers turn into vector code.
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = start + static_cast<uint32_t>(i);
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    x ^= x >> 16;
    out[i] = static_cast<float>(static_cast<int32_t>(x)) * step;
  }
}

std::vector<float> uniform_floats(uint32_t seed, size_t count, float scale) {
  std::vector<float> x(count);
  fill_uniform(seed, 0, static_cast<int64_t>(count), scale, x.data());
  return x;
}

}  // namespace kvlab
