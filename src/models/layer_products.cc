#include "models/layer_products.h"

#include "models/architecture.h"

namespace kvlab {

namespace {

ProductSize product_of(const std::string& name, const LinearTensors& linear) {
  ProductSize size{name, 0, linear.in};
  for (const TensorRows& part : linear.weight) size.out += part.rows;
  return size;
}

}  // namespace

std::vector<ProductSize> layer_products(const ModelConfig& config) {
  ModelConfig one = config;
  one.layers = 1;
  const LayerTensors layer = find_architecture(config.architecture, config.name).tensors(one).layers.front();
  return {product_of("QKV", layer.qkv), product_of("attention output", layer.output),
          product_of(layer.gated ? "gate and up" : "up", layer.up), product_of("down", layer.down)};
}

double layer_flops(const ModelConfig& config) {
  double flops = 0;
  for (const ProductSize& product : layer_products(config)) flops += product.flops_per_row();
  return flops * config.layers;
}

double head_flops(const ModelConfig& config) {
  return 2.0 * config.vocab * config.hidden;
}

}  // namespace kvlab
