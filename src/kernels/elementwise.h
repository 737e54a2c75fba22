// Row-wise kernels of a transformer: norms, rotary embedding, activations, conversions, and the output head's
// statistics. Every function has a plain reference of the same name in namespace kvlab::reference.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace kvlab {

// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], i < n.
void rms_norm(const float* x, const float* weight, float eps, int n, float* out);
// out[i] = (x[i] - mean) / sqrt(variance + eps) * weight[i] + bias[i], i < n.
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out);
// out[i] = silu(gate[i]) * up[i]; silu(x) = x / (1 + exp(-x)).
void silu_mul(const float* gate, const float* up, int n, float* out);
// y += x.
void add_to(const float* x, int n, float* y);
// Rotates one head vector in place, half-split: pairs (i, i + dims/2), i < dims/2; cos and sin hold dims/2
// values.
void rotate_half_split(float* x, const float* cos, const float* sin, int dims);
void to_bf16(const float* x, int64_t n, BF16* out);  // round to nearest, ties to even
void to_f32(const BF16* x, int64_t n, float* out);
void round_to_bf16(float* x, int64_t n);  // in place: every value becomes a bf16 value
float l2_norm(const float* x, int n);

// Running statistics over the vocabulary of one position's logits, and of a second (baseline) model's logits
// for the same position, taken slab by slab, so that logits are never kept.
struct HeadState {
  float max = -1e30f;      // running maximum of the logits
  double sum = 0;          // sum of exp(logit - max)
  int32_t argmax = -1;     // lowest index of the maximum
  float target_logit = 0;  // logit of the target token, once its slab was seen
};
struct PairState {
  HeadState base, own;
  double weighted = 0;  // sum of exp(base - base.max) (base - own)
};
// Takes logits of vocabulary [first, first + n). target < 0: none.
void head_update(HeadState& state, const float* logits, int32_t first, int n, int32_t target);
void pair_update(PairState& state, const float* base, const float* own, int32_t first, int n, int32_t target);
// The largest of n numbers and the lowest index where it stands; NaNs do not count.
struct Maximum {
  float value = -1e30f;
  int32_t index = -1;
};
Maximum first_maximum(const float* x, int n);
// -log p(target).
double head_nll(const HeadState& state);
// KL(base || own) in nats over the whole vocabulary; clipped at 0 from below against rounding.
double pair_kl(const PairState& state);

namespace reference {
void rms_norm(const float* x, const float* weight, float eps, int n, float* out);
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out);
void silu_mul(const float* gate, const float* up, int n, float* out);
void rotate_half_split(float* x, const float* cos, const float* sin, int dims);
double nll(const float* logits, int n, int32_t target);
double kl(const float* base, const float* own, int n);
}  // namespace reference

}  // namespace kvlab
