#include "models/memory_warning.h"

#include <fmt/format.h>

namespace kvlab {

std::optional<std::string> memory_warning(int64_t needed, int64_t available, DType type) {
  if (available <= 0 || needed < available) return std::nullopt;
  const bool f32 = type == DType::kF32;
  return fmt::format("the weights take {:.1f} GiB as {}, and {:.1f} GiB of memory are free: {}",
                     static_cast<double>(needed) * 0x1p-30, f32 ? "f32" : "bf16",
                     static_cast<double>(available) * 0x1p-30,
                     f32 ? "--dtype bf16 takes half" : "a smaller model is needed");
}

}  // namespace kvlab
