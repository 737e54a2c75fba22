// The llama architecture: RMS norms before attention and MLP, rotary positions (half-split), grouped-query
// attention, SwiGLU. Touvron et al.: LLaMA, arXiv:2302.13971; Llama 3.1 adds the rotary scaling of
// models/rotary.h.
//
// forward() goes layer by layer over all tokens. Between two attentions, one thread takes a block of 64
// positions through [output projection, residual, norm, gate and up, SiLU, down, residual] of a layer and
// [norm, QKV, rotary] of the next, while the block stays in its second-level cache; so a layer costs two
// barriers.
#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/rotary_table.h"
#include "models/model.h"
#include "models/rotary.h"

namespace kvlab {

namespace {

constexpr int kBlock = 64;  // positions a thread takes at a time

struct Layer {
  std::vector<float> input_norm, mlp_norm;
  PackedMatrix qkv, output, gate_up, down;
};

std::vector<float> join(std::initializer_list<std::vector<float>> parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Layer load_layer(const Weights& weights, const ModelConfig& c, int index, DType type) {
  const std::string p = "model.layers." + std::to_string(index) + ".";
  const int q = c.query_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const auto read = [&](const std::string& name, int out, int in) {
    return weights.read(p + name + ".weight", {out, in});
  };
  const auto qkv = join({read("self_attn.q_proj", q, c.hidden), read("self_attn.k_proj", kv, c.hidden),
                         read("self_attn.v_proj", kv, c.hidden)});
  const auto gate_up =
      join({read("mlp.gate_proj", c.intermediate, c.hidden), read("mlp.up_proj", c.intermediate, c.hidden)});
  return {
      weights.read(p + "input_layernorm.weight", {c.hidden}),
      weights.read(p + "post_attention_layernorm.weight", {c.hidden}),
      PackedMatrix(qkv.data(), q + 2 * kv, c.hidden, type),
      PackedMatrix(read("self_attn.o_proj", c.hidden, q).data(), c.hidden, q, type),
      PackedMatrix(gate_up.data(), 2 * c.intermediate, c.hidden, type),
      PackedMatrix(read("mlp.down_proj", c.hidden, c.intermediate).data(), c.hidden, c.intermediate, type)};
}

// Working memory of one thread, for a block of positions.
struct BlockScratch {
  Buffer<float> norm, gate_up, product;
  GemmScratch gemm;
};

class Llama : public Model {
 public:
  Llama(const ModelFiles& files, DType type, Progress& progress)
      : Model(files.config, type),
        weights_(files.weights),
        frequencies_(rotary_frequencies(files.config.rotary)) {
    const ModelConfig& c = config_;
    progress.begin("loading " + c.name, c.layers + 1);
    for (int layer = 0; layer < c.layers; ++layer) {
      layers_.push_back(load_layer(*weights_, c, layer, type));
      progress.step(layer + 1);
    }
    final_norm_ = weights_->read("model.norm.weight", {c.hidden});
    const std::string head = c.tied_embeddings ? kEmbedding : "lm_head.weight";
    const std::vector<int64_t> expected = {c.vocab, c.hidden};
    if (weights_->shape(head) != expected) weights_->read(head, expected);  // throws, naming both shapes
    if (weights_->shape(kEmbedding) != expected) weights_->read(kEmbedding, expected);
    head_ = std::make_unique<OutputHead>(*weights_, head, c.vocab, c.hidden, type);
    progress.end();
  }

  void forward(std::span<const int32_t> tokens, int64_t first, AttentionProvider& attention,
               float* hidden_out) const override {
    Pass pass(*this, tokens, first, attention.wants_hidden());
    const int blocks = (pass.rows + kBlock - 1) / kBlock;
    std::vector<BlockScratch> scratch(thread_count());
    const auto each_block = [&](auto&& work) {
      parallel_tasks(blocks, [&](int block, int thread) {
        work(block * kBlock, std::min(kBlock, pass.rows - block * kBlock), scratch[thread]);
      });
    };
    each_block([&](int row, int rows, BlockScratch& s) {
      embed(tokens, row, rows, pass);
      before_attention(layers_[0], pass, row, rows, s);
    });
    for (int layer = 0; layer < config_.layers; ++layer) {
      attention.attend(pass.attention_block(layer, first));
      const bool last = layer + 1 == config_.layers;
      each_block([&](int row, int rows, BlockScratch& s) {
        after_attention(layers_[layer], pass, row, rows, s);
        if (!last) before_attention(layers_[layer + 1], pass, row, rows, s);
        for (int r = row; last && r < row + rows; ++r) {
          rms_norm(pass.x_row(r), final_norm_.data(), eps(), config_.hidden,
                   hidden_out + static_cast<int64_t>(r) * config_.hidden);
        }
      });
    }
  }

 private:
  static constexpr const char* kEmbedding = "model.embed_tokens.weight";
  float eps() const { return static_cast<float>(config_.norm_eps); }

  // Activations of one forward(): [rows] of each.
  struct Pass {
    Pass(const Llama& model, std::span<const int32_t> tokens, int64_t first, bool with_hidden)
        : config(model.config_),
          rows(static_cast<int>(tokens.size())),
          qkv_size((config.query_heads + 2 * config.kv_heads) * config.head_dim),
          mixed_size(config.query_heads * config.head_dim),
          x(static_cast<size_t>(rows) * config.hidden),
          qkv(static_cast<size_t>(rows) * qkv_size),
          mixed(static_cast<size_t>(rows) * mixed_size),
          hidden(with_hidden ? static_cast<size_t>(rows) * config.hidden : 0),
          rotary(model.frequencies_, first, rows) {}

    float* x_row(int r) { return x.data() + static_cast<int64_t>(r) * config.hidden; }
    AttentionBlock attention_block(int layer, int64_t first) {
      AttentionBlock block;
      block.layer = layer;
      block.first = first;
      block.rows = rows;
      block.q = qkv.data();
      block.k = qkv.data() + mixed_size;
      block.v = block.k + config.kv_heads * config.head_dim;
      block.q_stride = block.kv_stride = qkv_size;
      block.hidden = hidden.size() ? hidden.data() : nullptr;
      block.out = mixed.data();
      block.out_stride = mixed_size;
      return block;
    }

    const ModelConfig& config;
    int rows, qkv_size, mixed_size;
    Buffer<float> x, qkv, mixed, hidden;
    RotaryTable rotary;
  };

  void embed(std::span<const int32_t> tokens, int row, int rows, Pass& pass) const {
    for (int r = row; r < row + rows; ++r) {
      if (tokens[r] < 0 || tokens[r] >= config_.vocab) {
        throw UserError("token id " + std::to_string(tokens[r]) + " is outside the model's vocabulary of " +
                        std::to_string(config_.vocab));
      }
      weights_->read_rows(kEmbedding, tokens[r], 1, pass.x_row(r));
    }
  }

  void before_attention(const Layer& layer, Pass& pass, int row, int rows, BlockScratch& s) const {
    const int d = config_.head_dim;
    s.norm.reserve_discard(static_cast<size_t>(kBlock) * config_.hidden);
    float* norm =
        pass.hidden.size() ? pass.hidden.data() + static_cast<int64_t>(row) * config_.hidden : s.norm.data();
    for (int r = 0; r < rows; ++r) {
      rms_norm(pass.x_row(row + r), layer.input_norm.data(), eps(), config_.hidden,
               norm + static_cast<int64_t>(r) * config_.hidden);
    }
    float* qkv = pass.qkv.data() + static_cast<int64_t>(row) * pass.qkv_size;
    linear(layer.qkv, norm, config_.hidden, rows, qkv, pass.qkv_size, s.gemm);
    for (int r = 0; r < rows; ++r) {
      for (int head = 0; head < config_.query_heads + config_.kv_heads; ++head) {
        rotate_half_split(qkv + static_cast<int64_t>(r) * pass.qkv_size + head * d,
                          pass.rotary.cos_row(row + r), pass.rotary.sin_row(row + r), config_.rotary.dims);
      }
    }
  }

  void after_attention(const Layer& layer, Pass& pass, int row, int rows, BlockScratch& s) const {
    const int hidden = config_.hidden, inner = config_.intermediate;
    s.norm.reserve_discard(static_cast<size_t>(kBlock) * hidden);
    s.product.reserve_discard(static_cast<size_t>(kBlock) * hidden);
    s.gate_up.reserve_discard(static_cast<size_t>(kBlock) * 2 * inner);
    linear(layer.output, pass.mixed.data() + static_cast<int64_t>(row) * pass.mixed_size, pass.mixed_size,
           rows, s.product.data(), hidden, s.gemm);
    for (int r = 0; r < rows; ++r) {
      float* x = pass.x_row(row + r);
      add_to(s.product.data() + static_cast<int64_t>(r) * hidden, hidden, x);
      rms_norm(x, layer.mlp_norm.data(), eps(), hidden, s.norm.data() + static_cast<int64_t>(r) * hidden);
    }
    linear(layer.gate_up, s.norm.data(), hidden, rows, s.gate_up.data(), 2 * inner, s.gemm);
    for (int r = 0; r < rows; ++r) {
      float* gate = s.gate_up.data() + static_cast<int64_t>(r) * 2 * inner;
      silu_mul(gate, gate + inner, inner, gate);
    }
    linear(layer.down, s.gate_up.data(), 2 * inner, rows, s.product.data(), hidden, s.gemm);
    for (int r = 0; r < rows; ++r)
      add_to(s.product.data() + static_cast<int64_t>(r) * hidden, hidden, pass.x_row(row + r));
  }

  std::shared_ptr<const Weights> weights_;
  std::vector<double> frequencies_;
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;
};

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_llama;
const ArchitectureInfo kArchitectureInfo_llama = {
    "llama", "Llama 1 to 3.2, SmolLM, TinyLlama and others of the same shape",
    [](const ModelFiles& files, DType type, Progress& progress) -> std::unique_ptr<Model> {
      return std::make_unique<Llama>(files, type, progress);
    }};

}  // namespace kvlab
