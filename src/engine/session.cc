#include "engine/session.h"

#include <algorithm>

#include "models/rotary.h"

namespace kvlab {

namespace {

// Hands a model's attention to the session's cache.
class CacheAttention : public AttentionProvider {
 public:
  explicit CacheAttention(KvCache& cache) : cache_(cache) {}
  bool wants_hidden() const override { return cache_.wants_hidden(); }
  void attend(const AttentionBlock& b) override {
    cache_.attend(
        {b.layer, b.first, b.rows, b.q, b.k, b.v, b.q_stride, b.kv_stride, b.hidden, b.out, b.out_stride});
  }

 private:
  KvCache& cache_;
};

}  // namespace

ModelShape shape_of(const ModelConfig& c) {
  return {c.layers, c.hidden, c.query_heads, c.kv_heads, c.head_dim, rotary_frequencies(c.rotary)};
}

int64_t dense_cache_bytes(const ModelShape& shape, int64_t tokens, DType type) {
  return int64_t{2} * shape.layers * shape.kv_heads * shape.head_dim * tokens *
         static_cast<int64_t>(element_size(type));
}

Session::Session(std::shared_ptr<const Model> model, std::shared_ptr<const Method> method,
                 CacheOptions options)
    : model_(std::move(model)), cache_(std::move(method), std::move(options)) {}

Session Session::fork() const {
  return Session(model_, cache_.fork());
}

std::vector<std::vector<std::vector<int32_t>>> Session::live_positions() const {
  const ModelShape& shape = cache_.method().shape;
  std::vector<std::vector<std::vector<int32_t>>> live(shape.layers);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      live[layer].push_back(cache_.store(layer, head).positions());
      std::sort(live[layer].back().begin(), live[layer].back().end());
    }
  }
  return live;
}

HiddenStates Session::extend(std::span<const int32_t> tokens) {
  HiddenStates states;
  states.rows = static_cast<int64_t>(tokens.size());
  states.size = model_->config().hidden;
  states.values = Buffer<float>(static_cast<size_t>(states.rows) * states.size);
  CacheAttention attention(cache_);
  for (size_t at = 0; at < tokens.size(); at += kMaxBlock) {
    const size_t count = std::min<size_t>(kMaxBlock, tokens.size() - at);
    model_->forward(tokens.subspan(at, count), cache_.tokens(), attention,
                    states.values.data() + at * states.size);
  }
  return states;
}

}  // namespace kvlab
