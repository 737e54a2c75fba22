// Activation functions of MLPs. References are in namespace kvlab::reference.
#pragma once

namespace kvlab {

// SiLU: x / (1 + exp(-x)). GELU (Hendrycks and Gimpel, arXiv:1606.08415): x Phi(x), exact to 2e-7 of |x|, and
// its approximation by tanh. ReLU: max(x, 0).
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

// x[i] = f(x[i]), i < n.
void activate(Activation activation, float* x, int n);
// out[i] = f(gate[i]) up[i], i < n; `out` may be `gate`.
void activate_mul(Activation activation, const float* gate, const float* up, int n, float* out);

namespace reference {
double activated(Activation activation, double x);
}

}  // namespace kvlab
