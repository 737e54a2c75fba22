// The loops that reach what a core can do.
#pragma once

#include <cstdint>

namespace kvlab::roofline {

// Multiply-adds of floats in registers. Returns a number that depends on all of them.
float multiply_add_f32(int64_t steps);
// Operations of one step.
int64_t flops_per_step_f32();

// Dot products of pairs of bfloat16 numbers added to floats, in registers (AVX512_BF16's vdpbf16ps). Call it
// only where has_bf16_instructions().
bool has_bf16_instructions();
float multiply_add_bf16(int64_t steps);
int64_t flops_per_step_bf16();

// Reads n floats, a multiple of 512.
float sum_floats(const float* x, int64_t n);

}  // namespace kvlab::roofline
