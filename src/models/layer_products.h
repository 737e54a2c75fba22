// The matrix products of a decoder layer, as the model calls them.
#pragma once

#include <string>
#include <vector>

#include "models/config.h"

namespace kvlab {

struct ProductSize {
  std::string name;  // "QKV", "attention output", "gate and up" or "up", "down"
  int out = 0, in = 0;
  double flops_per_row() const { return 2.0 * out * in; }
};

// Of one layer; all layers of a model are alike. Throws UserError for an unknown architecture.
std::vector<ProductSize> layer_products(const ModelConfig& config);

// Operations per token of the products of all layers, and of the output head.
double layer_flops(const ModelConfig& config);
double head_flops(const ModelConfig& config);

}  // namespace kvlab
