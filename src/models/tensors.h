// Which tensors play which part in a decoder.
#pragma once

#include <string>
#include <vector>

namespace kvlab {

// Rows of a tensor, [out][in] as Hugging Face checkpoints store it.
struct TensorRows {
  std::string tensor;
  int rows = 0;
  int first = 0;
};

// y = W x + b: the parts' rows one after the other. `bias`: the same rows of vectors, or none.
struct LinearTensors {
  std::vector<TensorRows> weight, bias;
  int in = 0;
};

// weight and bias of a norm over `size` values; no bias: "", no norm: no weight.
struct NormTensors {
  std::string weight, bias;
  int size = 0;
};

// One layer. qkv: queries, keys, values, heads in order. up: gate and up, or up alone when `gated` is false.
struct LayerTensors {
  NormTensors input_norm, mlp_norm;
  NormTensors query_norm, key_norm;         // of every head, before rotary
  NormTensors attention_norm, output_norm;  // of what attention and MLP add to the residual
  LinearTensors qkv, output, up, down;
  bool gated = true;
};

struct DecoderTensors {
  std::string embedding, head;  // [vocab][hidden]; of tied embeddings the same
  NormTensors final_norm;
  std::vector<LayerTensors> layers;
};

}  // namespace kvlab
