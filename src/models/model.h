// A language model as a function from tokens to final hidden states. Models know their weights and their
// order of operations, and hand queries, keys and values to an AttentionProvider; they know no cache and no
// method.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "models/config.h"
#include "models/linear.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// Tokens of one layer, handed to attention. Shapes as in cache/kv_cache.h's LayerBlock; k and v may be
// rounded in place.
struct AttentionBlock {
  int layer = 0;
  int64_t first = 0;
  int rows = 0;
  int piece = 0;
  const float* q = nullptr;
  float* k = nullptr;
  float* v = nullptr;
  int64_t q_stride = 0, kv_stride = 0;
  const float* hidden = nullptr;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// The attention of one segment. Every layer and piece is prepared, then attended to by every chain, which
// takes a layer's pieces in order. Different chains and layers may run at the same time.
class AttentionProvider {
 public:
  virtual ~AttentionProvider() = default;
  virtual bool wants_hidden() const = 0;
  // Whether see() must be shown whole layers, which then run one after the other.
  virtual bool wants_whole_layers() const = 0;
  virtual int chains() const = 0;
  virtual void prepare(const AttentionBlock& piece) = 0;
  virtual void see(const AttentionBlock& layer) = 0;
  virtual void attend(const AttentionBlock& piece, int chain) = 0;
};

// Tokens of one sequence, the first at position `first`.
struct Segment {
  std::span<const int32_t> tokens;
  int64_t first = 0;
  AttentionProvider* attention = nullptr;
  float* hidden_out = nullptr;  // [tokens][hidden], after the final norm
};

struct LoadOptions {
  DType type = DType::kF32;  // of the weights: f32, or bf16 where the processor has bf16 dot products
  DecodeWeights decode = DecodeWeights::kPacked;
};

// The output head in slabs of the vocabulary, so that logits of a block of positions stay in the processor's
// cache and are never kept for a document.
class OutputHead {
 public:
  static constexpr int kSlab = 2048;  // vocabulary entries per slab
  static constexpr int kRows = 64;    // positions per block
  OutputHead(const Weights& weights, const std::string& tensor, int vocab, int hidden,
             const LoadOptions& options);
  int vocab() const { return vocab_; }
  int hidden() const { return hidden_; }
  int slabs() const { return static_cast<int>(slabs_.size()); }
  int slab_first(int slab) const { return slab * kSlab; }
  int slab_size(int slab) const { return slabs_[slab].out(); }
  // logits[r * kSlab + i] of vocabulary entry slab_first(slab) + i, for rows <= kRows.
  void logits(int slab, const float* hidden, int rows, float* logits, GemmScratch& scratch) const;
  // The same for few rows and all slabs, by all threads together: logits[r * vocab() + i], rows <=
  // kNarrowRows.
  void narrow_logits(const float* hidden, int rows, float* logits) const;
  // The likeliest entry of each of few rows, of equals the lowest, by all threads together.
  void narrow_top(const float* hidden, int rows, int32_t* top) const;
  // Bytes of weights that narrow_logits() reads.
  size_t narrow_bytes(int rows) const;

 private:
  struct NarrowWork;
  // logits[r * stride + i] of a slab, by the calling thread alone.
  void narrow_slab(int slab, const float* hidden, int rows, float* logits, int64_t stride,
                   NarrowWork& work) const;

  int vocab_, hidden_;
  std::vector<Linear> slabs_;
};

class Model {
 public:
  virtual ~Model() = default;
  const ModelConfig& config() const { return config_; }
  DType type() const { return type_; }
  const OutputHead& head() const { return *head_; }
  // Throws UserError for a token outside the vocabulary.
  void check_tokens(std::span<const Segment> segments) const;
  // Runs the tokens of all segments together, so that weights are read once for all of them. Tokens have been
  // checked.
  virtual void forward(std::span<const Segment> segments) const = 0;
  // Bytes of weights that a step of so few rows (decoding) reads, the output head included.
  virtual size_t step_bytes(int rows) const = 0;
  // W_O of a layer, its bias left out, as the model multiplies with it: [query_heads * head_dim][hidden]. Row
  // h * head_dim + i is what element i of query head h's output adds to the residual (before the norm that
  // some architectures put behind it). Made anew by each call, by all threads.
  virtual std::vector<float> output_projection(int layer) const = 0;

 protected:
  Model(ModelConfig config, DType type) : config_(std::move(config)), type_(type) {}
  ModelConfig config_;
  DType type_;
  std::unique_ptr<OutputHead> head_;
};

// Bytes of the weights once loaded, but for what layouts pad. The embedding is not among them: its rows are
// read from the file.
int64_t weight_bytes(const ModelFiles& files, DType type);

// Loads the weights, converted to options.type and packed once. Throws UserError: unknown architecture (with
// those known), missing or misshapen tensors.
std::shared_ptr<const Model> load_model(const ModelFiles& files, const LoadOptions& options,
                                        Progress& progress = silent_progress());

}  // namespace kvlab
