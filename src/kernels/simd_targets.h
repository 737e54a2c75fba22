// Which of Highway's targets are built: AVX-512, AVX2, NEON and the baseline; the others would cost compile
// time and run on few machines. Vectors of unknown length (SVE, RISC-V) cannot be kept in arrays, as the
// kernels do. Include before <hwy/highway.h>.
#pragma once

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
