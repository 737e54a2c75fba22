// Runs a check once per SIMD target this CPU has.
#pragma once

#include <gtest/gtest.h>

#include <hwy/targets.h>

namespace kvlab {

template <typename Check>
void for_each_target(Check&& check) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t all = hwy::SupportedTargets();
  // Without vectors worth the name every kernel still has its baseline; EMU128 stands for it.
  for (const int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_EMU128}}) {
    if (target != HWY_EMU128 && !(all & target)) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    // The choice is made once per process; this makes it anew.
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check(target);
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace kvlab
