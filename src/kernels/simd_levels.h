// The instruction sets that kernels choose from at run time. For tests and benchmarks; kernels choose the
// best alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kvlab {

// What this build has and this processor runs, best first.
std::vector<int64_t> simd_levels();
std::string simd_level_name(int64_t level);
// From now on kernels use this level; 0: the best again. Not while kernels run.
void limit_simd_level(int64_t level);

}  // namespace kvlab
