// What this machine can do, measured by the same process as everything that is compared with it.
#pragma once

#include <optional>

#include "bench/roofline/measure.h"
#include "bench/roofline/report.h"
#include "tensor/dtype.h"

namespace kvlab::roofline {

struct Peak {
  double per_second = 0;  // operations or bytes, the best of several samples
  Samples samples;
};

struct Peaks {
  std::optional<Peak> bf16_one, bf16_all;  // operations per second; nothing without such instructions
  Peak f32_one, f32_all;
  Peak stream_one, stream_all;  // bytes read per second from memory
  // Operations per second of all threads for weights of this type. Without bf16 instructions, f32's.
  double flops(DType type) const;
};

// Takes about three seconds and, for a while, half a gigabyte. The table goes into the report.
Peaks measure_peaks(int threads, Report& report);

}  // namespace kvlab::roofline
