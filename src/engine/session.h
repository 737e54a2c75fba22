// A session: a model, a method and the tokens so far. Everything is extend(): prefill is one long extend,
// decoding is extends of one token, scoring is extends of as many tokens as memory likes. Any split of the
// tokens into extends gives the same result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "models/model.h"
#include "tensor/buffer.h"

namespace kvlab {

ModelShape shape_of(const ModelConfig& config);

// What keys and values of so many tokens take when nothing is compressed.
int64_t dense_cache_bytes(const ModelShape& shape, int64_t tokens, DType type);

// Final hidden states (after the last norm), one row per token; the output head turns them into logits.
struct HiddenStates {
  int64_t rows = 0;
  int size = 0;  // of a row
  Buffer<float> values;
  const float* row(int64_t r) const { return values.data() + r * size; }
};

class Session {
 public:
  static constexpr int kMaxBlock = 2048;

  // Throws UserError where the method lacks something that `options` should hold.
  Session(std::shared_ptr<const Model> model, std::shared_ptr<const Method> method, CacheOptions options);
  Session(Session&&) = default;

  // Appends tokens. Long input is cut into blocks of at most `max_block` tokens, which bounds the working
  // memory. A tap that needs a layer's tokens all at once asks for larger blocks.
  HiddenStates extend(std::span<const int32_t> tokens, size_t max_block = kMaxBlock);
  // Marks the end of the context, once: recipes with at=context act here. A scorer that repeats the context
  // runs the model over it once more.
  void end_context();
  // Extends several sessions of one model together: their rows share the matrix products, and weights are
  // read once for all. Each gets what its own extend() would have given. Long input is cut so that at most
  // `max_block` rows are in work.
  static std::vector<HiddenStates> extend_together(std::span<Session* const> sessions,
                                                   std::span<const std::span<const int32_t>> tokens,
                                                   size_t max_block = kMaxBlock);
  // A second session with the same past; pages are shared until one of them changes them.
  Session fork() const;
  // The same without compression from here on, all new tokens shown to `tap`.
  Session fork_dense(std::shared_ptr<LayerTap> tap) const;

  int64_t tokens() const { return cache_.tokens(); }
  const KvCache& cache() const { return cache_; }
  const Model& model() const { return *model_; }
  // The live entries' positions, ascending: [layer][KV head].
  std::vector<std::vector<std::vector<int32_t>>> live_positions() const;

 private:
  // The next tokens of a session.
  struct Share {
    Session* session;
    std::span<const int32_t> tokens;
    float* hidden_out;
  };
  static void run_together(std::span<const Share> shares);
  Session(std::shared_ptr<const Model> model, KvCache cache)
      : model_(std::move(model)), cache_(std::move(cache)) {}
  std::shared_ptr<const Model> model_;
  KvCache cache_;
  // The tokens so far, of methods that will repeat them, until the context ends.
  std::vector<int32_t> context_;
};

}  // namespace kvlab
