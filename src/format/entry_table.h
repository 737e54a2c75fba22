// Numbers about the entries of documents, made by somebody else: one value per layer, KV head and token, read
// from a safetensors file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kvlab {

class EntryTable {
 public:
  // Reads tensor `name` (of document 0) and tensors `name`.<document>, where a document is its place in the
  // data, from 0. Shapes: [layers, kv_heads, tokens], [layers, tokens] for all heads alike, or [tokens] for
  // all layers and heads. All are held in memory as floats. Throws UserError naming the file, the tensor and
  // both shapes: no such tensor, another model's shape, both spellings of document 0.
  EntryTable(std::string path, std::string name, int layers, int kv_heads);

  // The tokens of one layer and head of a document, at least `tokens` of them; may be called from several
  // threads. Throws UserError naming file, tensor and both sizes: nothing about this document, or too few
  // tokens.
  std::span<const float> row(uint64_t document, int layer, int head, int64_t tokens) const;

  // Asks of every value what is wrong with it ("" is nothing). Throws UserError with that and its place:
  // "F.safetensors: tensor 'scores', layer 3, head 1, token 17 is ...".
  void check_all(const std::function<std::string(float value, int64_t token)>& what_is_wrong) const;

 private:
  struct Table {
    std::string tensor;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  void add(const class Weights& file, const std::string& tensor, uint64_t document);

  std::string path_, name_;
  int layers_, kv_heads_;
  std::map<uint64_t, Table> documents_;
};

}  // namespace kvlab
