// config.json of a Hugging Face model, beside the tensors of a llama of one layer and width 4.
#include <numeric>

#include "format/safetensors.h"
#include "fuzz/support.h"
#include "fuzz/targets.h"
#include "models/readers.h"

namespace kvlab::fuzz {

namespace {

NamedTensor filled(const std::string& name, std::vector<int64_t> shape) {
  const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return {name, std::move(shape), std::vector<float>(static_cast<size_t>(elements), 0.5F)};
}

void write_tensors(const std::string& path) {
  std::vector<NamedTensor> tensors = {filled("model.embed_tokens.weight", {3, 4}),
                                      filled("model.norm.weight", {4})};
  const std::string layer = "model.layers.0.";
  for (const char* name : {"input_layernorm", "post_attention_layernorm"}) {
    tensors.push_back(filled(layer + name + ".weight", {4}));
  }
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    tensors.push_back(filled(layer + name + ".weight", {4, 4}));
  }
  write_safetensors(path, tensors);
}

}  // namespace

void fuzz_hf_config(Input input) {
  static const Folder folder;
  static const bool written = (write_tensors(folder.file("model.safetensors")), true);
  require(written, "no tensors");
  folder.write("config.json", text_of(input));
  // Settings that ask for other shapes are told of with the file of the tensors.
  answers(folder.path(), [&] { read_tensors(*open_hf_model(folder.path()).weights); });
}

}  // namespace kvlab::fuzz
