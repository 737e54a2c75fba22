// Element types and the conversions between them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

namespace kvlab {

enum class DType { kF32, kBF16, kF16 };

inline size_t element_size(DType type) {
  return type == DType::kF32 ? 4 : 2;
}
inline const char* dtype_name(DType type) {
  return type == DType::kF32 ? "f32" : type == DType::kBF16 ? "bf16" : "f16";
}

// A bfloat16 number: the upper half of a float. Rounding is to nearest, ties to even; NaN stays NaN.
struct BF16 {
  uint16_t bits = 0;
};

inline float to_float(BF16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

inline BF16 to_bf16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

// IEEE half to float.
inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu;
  const uint32_t mantissa = h & 0x3ffu;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace kvlab
