#include "models/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "models/decoder_pass.h"
#include "models/rotary.h"

namespace kvlab {

namespace {

Decoder::Norm load_norm(const Weights& weights, const NormTensors& tensors, const ModelConfig& config) {
  Decoder::Norm norm;
  if (tensors.weight.empty()) return norm;
  norm.weight = weights.read(tensors.weight, {tensors.size});
  if (config.unit_offset) {
    for (float& w : norm.weight) w += 1;
  }
  if (!tensors.bias.empty()) norm.bias = weights.read(tensors.bias, {tensors.size});
  return norm;
}

// Attention divides scores by sqrt(head_dim); a model with another scale has the rest in its query norm.
void fold_query_scale(const ModelConfig& config, Decoder::Layer& layer) {
  if (config.query_scale == 0) return;
  const auto factor =
      static_cast<float>(config.query_scale * std::sqrt(static_cast<double>(config.head_dim)));
  KVLAB_CHECK(layer.query_norm.given());
  for (float& w : layer.query_norm.weight) w *= factor;
}

Decoder::Layer load_layer(const Weights& weights, const LayerTensors& t, const ModelConfig& config,
                          const LoadOptions& options) {
  const auto linear = [&](const LinearTensors& tensors) {
    return Linear(weights, tensors, options.type, options.decode);
  };
  const auto norm = [&](const NormTensors& tensors) { return load_norm(weights, tensors, config); };
  Decoder::Layer layer{norm(t.input_norm),
                       norm(t.mlp_norm),
                       norm(t.query_norm),
                       norm(t.key_norm),
                       norm(t.attention_norm),
                       norm(t.output_norm),
                       linear(t.qkv),
                       linear(t.output),
                       linear(t.up),
                       linear(t.down),
                       t.gated};
  fold_query_scale(config, layer);
  return layer;
}

}  // namespace

Decoder::Decoder(const ModelFiles& files, const DecoderTensors& tensors, const LoadOptions& options,
                 Progress& progress)
    : Model(files.config, options.type),
      weights_(files.weights),
      embedding_(tensors.embedding),
      frequencies_(rotary_frequencies(files.config.rotary)),
      window_frequencies_(rotary_frequencies(files.config.window_rotary.value_or(files.config.rotary))) {
  const ModelConfig& c = config_;
  progress.begin("loading " + c.name, c.layers + 1);
  layers_.reserve(tensors.layers.size());
  for (const LayerTensors& layer : tensors.layers) {
    layers_.push_back(load_layer(*weights_, layer, c, options));
    weights_->release();
    progress.step(static_cast<int64_t>(layers_.size()));
  }
  has_narrow_ = std::all_of(layers_.begin(), layers_.end(), [](const Layer& l) {
    return l.qkv.has_narrow() && l.output.has_narrow() && l.up.has_narrow() && l.down.has_narrow();
  });
  final_norm_ = load_norm(*weights_, tensors.final_norm, c);
  head_ = std::make_unique<OutputHead>(*weights_, tensors.head, c.vocab, c.hidden, options);
  weights_->release();
  progress.end();
}

void Decoder::forward(std::span<const Segment> segments) const {
  DecoderPass pass(*this, segments);
  if (pass.narrow()) {
    pass.run_narrow();
  } else {
    run_pipeline(segments, config_.layers, pass);
  }
}

size_t Decoder::step_bytes(int rows) const {
  size_t bytes = head_->narrow_bytes(rows);
  for (const Layer& l : layers_) {
    for (const Linear* w : {&l.qkv, &l.output, &l.up, &l.down}) bytes += w->narrow_bytes(rows);
  }
  return bytes;
}

std::vector<float> Decoder::output_projection(int layer) const {
  KVLAB_CHECK(layer >= 0 && layer < config_.layers);
  return layers_[layer].output.transposed();
}

void Decoder::apply(const Norm& norm, const float* x, int size, float* out) const {
  const auto eps = static_cast<float>(config_.norm_eps);
  if (config_.norm == NormKind::kLayer) {
    layer_norm(x, norm.weight.data(), norm.bias.data(), eps, size, out);
  } else {
    rms_norm(x, norm.weight.data(), eps, size, out);
  }
}

}  // namespace kvlab
