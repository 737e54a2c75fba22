// Fits a two-layer MLP by AdamW (Loshchilov and Hutter, arXiv:1711.05101), minibatches and a cosine schedule.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "train/surrogate.h"

namespace kvlab {

// The defaults are those of KVzap's reference code, made for a million samples.
struct MlpOptions {
  int hidden = 0;
  int epochs = 15;
  double learning_rate = 5e-3;
  double weight_decay = 0.01;
  int batch = 512;
  double clip = 1.0;  // the gradient's norm, of this layer alone
  uint64_t seed = 0;
};

// Hands out a sample: its input [input] and what is to be predicted [output].
using ReadSample = std::function<void(int64_t row, float* x, float* y)>;

// Fits rows [0, rows). Inputs and outputs are standardised for the fit and the standardisation is folded into
// the weights at the end; the last weights are given. By the calling thread; a function of the samples and
// the seed. `go_on` is asked before every batch with the epochs done so far; when it says no, the result is
// empty.
Surrogate fit_mlp(int input, int output, int64_t rows, const MlpOptions& options, const ReadSample& read,
                  const std::function<bool(int epochs)>& go_on);

// The mean over rows and outputs of the squared error, and its gradient by the values of `mlp`, which is
// resized.
double mlp_loss(const Surrogate& mlp, const float* x, const float* y, int rows, Surrogate& gradient);

}  // namespace kvlab
