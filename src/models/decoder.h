// The transformer decoder that all architectures are: norm, attention, norm, MLP, added to a residual. Which
// tensors play which part comes from the architecture, all else from the settings.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/rotary_table.h"
#include "models/model.h"
#include "models/tensors.h"

namespace kvlab {

class Decoder : public Model {
 public:
  // Reads and packs all weights but the embedding, which is read from the file row by row. Throws UserError.
  Decoder(const ModelFiles& files, const DecoderTensors& tensors, const LoadOptions& options,
          Progress& progress);

  void forward(std::span<const Segment> segments) const override;
  size_t step_bytes(int rows) const override;
  std::vector<float> output_projection(int layer) const override;

  // What an architecture does not have stays empty.
  struct Norm {
    std::vector<float> weight, bias;
    bool given() const { return !weight.empty(); }
  };
  struct Layer {
    Norm input_norm, mlp_norm;
    Norm query_norm, key_norm;         // of every head, before rotary
    Norm attention_norm, output_norm;  // of what attention and MLP add to the residual
    Linear qkv, output, up, down;      // up: gate and up where the MLP is gated
    bool gated = true;
  };

 private:
  friend class DecoderPass;
  void apply(const Norm& norm, const float* x, int size, float* out) const;

  std::shared_ptr<const Weights> weights_;
  std::string embedding_;
  RotaryFrequencies frequencies_, window_frequencies_;  // of layers without and with a window
  std::vector<Layer> layers_;
  Norm final_norm_;
  bool has_narrow_ = false;
};

}  // namespace kvlab
