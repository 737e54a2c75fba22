#include "engine/hindsight.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "engine/session.h"

namespace kvlab {

namespace {

// A layer's queries [tokens][query heads * head_dim] and, per KV head, keys and values [tokens][head_dim].
struct SeenLayer {
  std::vector<float> q;
  std::vector<std::vector<float>> k, v;
};

// Has the method plan layer by layer. As a tap it collects a layer over the whole document, plans when it is
// complete, and lets it go: of a document of one block only one layer is ever held.
class Planner : public LayerTap {
 public:
  Planner(const Method& method, DType type, int64_t tokens, std::optional<int64_t> context, uint64_t document)
      : method_(method),
        type_(type),
        tokens_(tokens),
        context_(context),
        document_(document),
        seen_(method.shape.layers) {
    record_.heads = method.shape.kv_heads;
    record_.evict_at.assign(static_cast<size_t>(method.shape.layers) * method.shape.kv_heads,
                            std::vector<int32_t>(static_cast<size_t>(tokens), kNever));
  }

  void see(const LayerBlock& block) override {
    collect(block, seen_[block.layer]);
    if (block.first + block.rows < tokens_) return;
    plan_layer(block.layer, &seen_[block.layer]);
    seen_[block.layer] = {};
  }

  // `seen` is null for methods without hindsight.
  void plan_layer(int layer, const SeenLayer* seen) {
    const ModelShape& shape = method_.shape;
    parallel_tasks(shape.kv_heads, [&](int head, int) {
      PlanView view{layer, head, document_, tokens_, context_, shape.group(), shape.head_dim};
      view.window = shape.window(layer);
      if (seen) {
        view.q = seen->q.data() + int64_t{1} * head * shape.group() * shape.head_dim;
        view.q_stride = int64_t{1} * shape.query_heads * shape.head_dim;
        view.k = seen->k[head].data();
        view.v = seen->v[head].data();
      }
      method_.planned()->plan(view, method_.policy_of(layer, head, type_),
                              record_.evict_at[static_cast<size_t>(layer) * shape.kv_heads + head]);
    });
  }

  LifetimeRecord take_record() { return std::move(record_); }

 private:
  void collect(const LayerBlock& block, SeenLayer& seen) const {
    const ModelShape& shape = method_.shape;
    const int64_t q_size = int64_t{1} * shape.query_heads * shape.head_dim;
    if (seen.q.empty()) {
      seen.q.resize(static_cast<size_t>(tokens_ * q_size));
      seen.k.assign(shape.kv_heads, std::vector<float>(static_cast<size_t>(tokens_ * shape.head_dim)));
      seen.v = seen.k;
    }
    for (int r = 0; r < block.rows; ++r) {
      const int64_t position = block.first + r;
      std::copy_n(block.q + r * block.q_stride, q_size, seen.q.data() + position * q_size);
      for (int head = 0; head < shape.kv_heads; ++head) {
        const int64_t from = r * block.kv_stride + int64_t{1} * head * shape.head_dim;
        const int64_t to = position * shape.head_dim;
        std::copy_n(block.k + from, shape.head_dim, seen.k[head].data() + to);
        std::copy_n(block.v + from, shape.head_dim, seen.v[head].data() + to);
      }
    }
  }

  const Method& method_;
  DType type_;  // of the cache
  int64_t tokens_;
  std::optional<int64_t> context_;
  uint64_t document_;
  std::vector<SeenLayer> seen_;
  LifetimeRecord record_;
};

std::shared_ptr<const Method> without_compression(const ModelShape& shape) {
  return make_method(no_compression(), shape);
}

}  // namespace

std::shared_ptr<const LifetimeRecord> plan_lifetimes_ahead(const std::shared_ptr<const Model>& model,
                                                           const std::shared_ptr<const Method>& method,
                                                           std::span<const int32_t> tokens,
                                                           std::optional<int64_t> context,
                                                           const CacheOptions& options) {
  KVLAB_CHECK(method->planned());
  const DType type = method->spec.codec ? method->spec.codec->type : options.type;
  const auto planner = std::make_shared<Planner>(*method, type, static_cast<int64_t>(tokens.size()), context,
                                                 options.document);
  if (method->planned()->hindsight()) {
    CacheOptions first_pass;
    first_pass.type = type;
    first_pass.document = options.document;
    first_pass.tap = planner;
    Session(model, without_compression(method->shape), first_pass).extend(tokens);
  } else {
    for (int layer = 0; layer < method->shape.layers; ++layer) planner->plan_layer(layer, nullptr);
  }
  return std::make_shared<const LifetimeRecord>(planner->take_record());
}

}  // namespace kvlab
