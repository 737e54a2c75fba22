#include "kernels/simd_levels.h"

#include "kernels/simd_targets.h"
//
#include <hwy/highway.h>
#include <hwy/targets.h>

namespace kvlab {

std::vector<int64_t> simd_levels() {
  std::vector<int64_t> levels;
  // Highway numbers better targets lower.
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  for (int bit = 0; bit < 63; ++bit)
    if (supported >> bit & 1) levels.push_back(int64_t{1} << bit);
  return levels;
}

std::string simd_level_name(int64_t level) {
  return hwy::TargetName(level);
}

void limit_simd_level(int64_t level) {
  // Highway's own hook for tests; 0 lifts the limit. The choice is cached, so it has to be made anew.
  hwy::SetSupportedTargetsForTest(level);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace kvlab
