// The llama architecture: RMS norms before attention and MLP, rotary positions (half-split), grouped-query
// attention, SwiGLU. Touvron et al.: LLaMA, arXiv:2302.13971; Llama 3.1 adds the rotary scaling of
// models/rotary.h.
#include <algorithm>

#include "base/error.h"
#include "base/team.h"
#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/rotary_table.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/pipeline.h"
#include "models/rotary.h"

namespace kvlab {

namespace {

struct Layer {
  std::vector<float> input_norm, mlp_norm;
  Linear qkv, output, gate_up, down;
};

void check_shape(const Weights& weights, const std::string& tensor, int out, int in) {
  const std::vector<int64_t> expected = {out, in};
  if (weights.shape(tensor) != expected) weights.read(tensor, expected);  // throws, naming both shapes
}

Layer load_layer(const Weights& weights, const ModelConfig& c, int index, const LoadOptions& options) {
  const std::string p = "model.layers." + std::to_string(index) + ".";
  const int q = c.query_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const auto linear = [&](std::vector<Linear::Part> parts, int in) {
    for (Linear::Part& part : parts) {
      part.tensor = p + part.tensor + ".weight";
      check_shape(weights, part.tensor, part.rows, in);
    }
    return Linear(weights, std::move(parts), in, options.type, options.decode);
  };
  return {weights.read(p + "input_layernorm.weight", {c.hidden}),
          weights.read(p + "post_attention_layernorm.weight", {c.hidden}),
          linear({{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}}, c.hidden),
          linear({{"self_attn.o_proj", c.hidden}}, q),
          linear({{"mlp.gate_proj", c.intermediate}, {"mlp.up_proj", c.intermediate}}, c.hidden),
          linear({{"mlp.down_proj", c.hidden}}, c.intermediate)};
}

// Working memory of one thread, for a block of positions.
struct BlockScratch {
  Buffer<float> norm, gate_up, product;
  GemmScratch gemm;
  NarrowScratch narrow;
};

class Llama : public Model {
 public:
  Llama(const ModelFiles& files, const LoadOptions& options, Progress& progress)
      : Model(files.config, options.type),
        weights_(files.weights),
        frequencies_(rotary_frequencies(files.config.rotary)) {
    const ModelConfig& c = config_;
    progress.begin("loading " + c.name, c.layers + 1);
    for (int layer = 0; layer < c.layers; ++layer) {
      layers_.push_back(load_layer(*weights_, c, layer, options));
      progress.step(layer + 1);
    }
    has_narrow_ = std::all_of(layers_.begin(), layers_.end(), [](const Layer& l) {
      return l.qkv.has_narrow() && l.output.has_narrow() && l.gate_up.has_narrow() && l.down.has_narrow();
    });
    final_norm_ = weights_->read("model.norm.weight", {c.hidden});
    const std::string head = c.tied_embeddings ? kEmbedding : "lm_head.weight";
    check_shape(*weights_, head, c.vocab, c.hidden);
    check_shape(*weights_, kEmbedding, c.vocab, c.hidden);
    head_ = std::make_unique<OutputHead>(*weights_, head, c.vocab, c.hidden, options);
    progress.end();
  }

  void forward(std::span<const Segment> segments) const override;

  size_t step_bytes(int rows) const override {
    size_t bytes = head_->narrow_bytes(rows);
    for (const Layer& l : layers_) {
      for (const Linear* w : {&l.qkv, &l.output, &l.gate_up, &l.down}) bytes += w->narrow_bytes(rows);
    }
    return bytes;
  }

 private:
  class Pass;
  static constexpr const char* kEmbedding = "model.embed_tokens.weight";
  float eps() const { return static_cast<float>(config_.norm_eps); }

  std::shared_ptr<const Weights> weights_;
  std::vector<double> frequencies_;
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;
  bool has_narrow_ = false;
};

// One forward(): the activations, a row for every token of all segments, and what is done with them.
class Llama::Pass : public LayerWork {
 public:
  Pass(const Llama& model, std::span<const Segment> segments)
      : model_(model),
        config_(model.config_),
        qkv_size_((config_.query_heads + 2 * config_.kv_heads) * config_.head_dim),
        mixed_size_(config_.query_heads * config_.head_dim),
        scratch_(thread_count()) {
    bool with_hidden = false;
    segments_ = segments;
    for (const Segment& segment : segments) {
      for (size_t i = 0; i < segment.tokens.size(); ++i) rows_.push_back({&segment, static_cast<int>(i)});
      first_row_.push_back(static_cast<int>(rows_.size() - segment.tokens.size()));
      rotary_.emplace_back(model.frequencies_, segment.first, static_cast<int>(segment.tokens.size()));
      with_hidden |= segment.attention->wants_hidden();
    }
    x_ = Buffer<float>(rows_.size() * config_.hidden);
    qkv_ = Buffer<float>(rows_.size() * qkv_size_);
    mixed_ = Buffer<float>(rows_.size() * mixed_size_);
    if (narrow()) gate_up_ = Buffer<float>(rows_.size() * 2 * config_.intermediate);
    if (with_hidden) hidden_ = Buffer<float>(rows_.size() * config_.hidden);
  }

  // Whether the rows are so few that reading the weights takes the time.
  bool narrow() const {
    const bool watched = std::any_of(segments_.begin(), segments_.end(),
                                     [](const Segment& s) { return s.attention->wants_whole_layers(); });
    return rows_.size() <= kNarrowRows && !watched && model_.has_narrow_;
  }

  // Few rows: all threads go through a layer together, each with its share of the columns, so that weights
  // are read once.
  void run_narrow() {
    std::vector<Piece> pieces = cut_pieces(segments_);
    Team::run([&](Team::Member& me) {
      BlockScratch& scratch = scratch_[me.thread()];
      me.step([&] { embed(me.first_of(row_count()), me.last_of(row_count()) - me.first_of(row_count())); });
      for (int layer = 0; layer < config_.layers; ++layer) {
        narrow_before_attention(layer, pieces, me, scratch);
        me.step([&] { narrow_attention(layer, pieces, me); });
        narrow_after_attention(model_.layers_[layer], me, scratch);
      }
      finish(me.first_of(row_count()), me.last_of(row_count()) - me.first_of(row_count()));
    });
  }

  void dense(int stage, int first_row, int rows, int thread) override {
    BlockScratch& scratch = scratch_[thread];
    if (stage == 0) {
      embed(first_row, rows);
    } else {
      after_attention(model_.layers_[stage - 1], first_row, rows, scratch);
    }
    if (stage < config_.layers) {
      before_attention(model_.layers_[stage], first_row, rows, scratch);
    } else {
      finish(first_row, rows);
    }
  }

  AttentionBlock attention_rows(int layer, int segment, int first_row, int rows) override {
    AttentionBlock block;
    block.layer = layer;
    block.first = segments_[segment].first + first_row - first_row_[segment];
    block.rows = rows;
    block.q = qkv_row(first_row);
    block.k = qkv_row(first_row) + mixed_size_;
    block.v = block.k + config_.kv_heads * config_.head_dim;
    block.q_stride = block.kv_stride = qkv_size_;
    block.hidden = hidden_.size() ? hidden_.data() + int64_t{1} * first_row * config_.hidden : nullptr;
    block.out = mixed_row(first_row);
    block.out_stride = mixed_size_;
    return block;
  }

 private:
  struct Row {
    const Segment* segment;
    int token;  // within the segment
  };

  int row_count() const { return static_cast<int>(rows_.size()); }
  float* x_row(int r) { return x_.data() + int64_t{1} * r * config_.hidden; }
  float* qkv_row(int r) { return qkv_.data() + int64_t{1} * r * qkv_size_; }
  float* mixed_row(int r) { return mixed_.data() + int64_t{1} * r * mixed_size_; }

  void embed(int first_row, int rows) {
    for (int r = first_row; r < first_row + rows; ++r)
      model_.weights_->read_rows(kEmbedding, rows_[r].segment->tokens[rows_[r].token], 1, x_row(r));
  }

  void before_attention(const Layer& layer, int first_row, int rows, BlockScratch& s) {
    const int hidden = config_.hidden;
    s.norm.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
    float* norm = hidden_.size() ? hidden_.data() + int64_t{1} * first_row * hidden : s.norm.data();
    for (int r = 0; r < rows; ++r) {
      rms_norm(x_row(first_row + r), layer.input_norm.data(), model_.eps(), hidden,
               norm + int64_t{1} * r * hidden);
    }
    linear(layer.qkv.packed(), norm, hidden, rows, qkv_row(first_row), qkv_size_, s.gemm);
    for (int r = first_row; r < first_row + rows; ++r) rotate(r);
  }

  void rotate(int r) {
    const RotaryTable& table = rotary_[rows_[r].segment - segments_.data()];
    for (int head = 0; head < config_.query_heads + config_.kv_heads; ++head) {
      rotate_half_split(qkv_row(r) + head * config_.head_dim, table.cos_row(rows_[r].token),
                        table.sin_row(rows_[r].token), config_.rotary.dims);
    }
  }

  void after_attention(const Layer& layer, int first_row, int rows, BlockScratch& s) {
    const int hidden = config_.hidden, inner = config_.intermediate;
    s.norm.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
    s.product.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
    s.gate_up.reserve_discard(static_cast<size_t>(kBlockRows) * 2 * inner);
    linear(layer.output.packed(), mixed_row(first_row), mixed_size_, rows, s.product.data(), hidden, s.gemm);
    for (int r = 0; r < rows; ++r) {
      float* x = x_row(first_row + r);
      add_to(s.product.data() + int64_t{1} * r * hidden, hidden, x);
      rms_norm(x, layer.mlp_norm.data(), model_.eps(), hidden, s.norm.data() + int64_t{1} * r * hidden);
    }
    linear(layer.gate_up.packed(), s.norm.data(), hidden, rows, s.gate_up.data(), 2 * inner, s.gemm);
    for (int r = 0; r < rows; ++r) {
      float* gate = s.gate_up.data() + int64_t{2} * r * inner;
      silu_mul(gate, gate + inner, inner, gate);
    }
    linear(layer.down.packed(), s.gate_up.data(), 2 * inner, rows, s.product.data(), hidden, s.gemm);
    for (int r = 0; r < rows; ++r)
      add_to(s.product.data() + int64_t{1} * r * hidden, hidden, x_row(first_row + r));
  }

  // Every member norms all rows for itself: that is quicker than waiting for another.
  void narrow_norm(const std::vector<float>& weight, BlockScratch& s) {
    const int hidden = config_.hidden;
    s.norm.reserve_discard(static_cast<size_t>(row_count()) * hidden);
    for (int r = 0; r < row_count(); ++r)
      rms_norm(x_row(r), weight.data(), model_.eps(), hidden, s.norm.data() + int64_t{1} * r * hidden);
  }

  void narrow_before_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me,
                               BlockScratch& s) {
    const Layer& weights = model_.layers_[layer];
    me.step([&] {
      narrow_norm(weights.input_norm, s);
      if (hidden_.size() && me.thread() == 0)
        std::copy_n(s.norm.data(), rows_.size() * config_.hidden, hidden_.data());
      weights.qkv.narrow(s.norm.data(), config_.hidden, row_count(), me.thread(), me.threads(), qkv_row(0),
                         qkv_size_, false, s.narrow);
    });
    me.step([&] {
      const auto count = static_cast<int>(pieces.size());
      for (int p = me.first_of(count); p < me.last_of(count); ++p) {
        for (int r = pieces[p].row; r < pieces[p].row + pieces[p].rows; ++r) rotate(r);
        segments_[pieces[p].segment].attention->prepare(piece_rows(layer, pieces[p]));
      }
    });
  }

  // Chains go round: with one segment every thread takes some of its heads.
  void narrow_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me) {
    int number = 0;
    for (const Piece& piece : pieces) {
      AttentionProvider& attention = *segments_[piece.segment].attention;
      for (int chain = 0; chain < attention.chains(); ++chain) {
        if (number++ % me.threads() == me.thread()) attention.attend(piece_rows(layer, piece), chain);
      }
    }
  }

  void narrow_after_attention(const Layer& weights, Team::Member& me, BlockScratch& s) {
    const int hidden = config_.hidden, inner = config_.intermediate;
    const int rows = row_count(), member = me.thread(), members = me.threads();
    me.step([&] {
      weights.output.narrow(mixed_row(0), mixed_size_, rows, member, members, x_row(0), hidden, true,
                            s.narrow);
    });
    me.step([&] {
      narrow_norm(weights.mlp_norm, s);
      weights.gate_up.narrow(s.norm.data(), hidden, rows, member, members, gate_up_.data(), 2 * inner, false,
                             s.narrow);
    });
    me.step([&] {
      s.gate_up.reserve_discard(static_cast<size_t>(rows) * inner);
      for (int r = 0; r < rows; ++r) {
        const float* gate = gate_up_.data() + int64_t{2} * r * inner;
        silu_mul(gate, gate + inner, inner, s.gate_up.data() + int64_t{1} * r * inner);
      }
      weights.down.narrow(s.gate_up.data(), inner, rows, member, members, x_row(0), hidden, true, s.narrow);
    });
  }

  AttentionBlock piece_rows(int layer, const Piece& piece) {
    AttentionBlock block = attention_rows(layer, piece.segment, piece.row, piece.rows);
    block.piece = piece.number;
    return block;
  }

  void finish(int first_row, int rows) {
    for (int r = first_row; r < first_row + rows; ++r) {
      rms_norm(x_row(r), model_.final_norm_.data(), model_.eps(), config_.hidden,
               rows_[r].segment->hidden_out + int64_t{1} * rows_[r].token * config_.hidden);
    }
  }

  const Llama& model_;
  const ModelConfig& config_;
  int qkv_size_, mixed_size_;
  std::span<const Segment> segments_;
  std::vector<Row> rows_;
  std::vector<int> first_row_;  // of each segment
  std::vector<RotaryTable> rotary_;
  Buffer<float> x_, qkv_, mixed_, hidden_;
  Buffer<float> gate_up_;  // of few rows
  std::vector<BlockScratch> scratch_;
};

void Llama::forward(std::span<const Segment> segments) const {
  Pass pass(*this, segments);
  if (pass.narrow()) {
    pass.run_narrow();
  } else {
    run_pipeline(segments, config_.layers, pass);
  }
}

}  // namespace

extern const ArchitectureInfo kArchitectureInfo_llama;
const ArchitectureInfo kArchitectureInfo_llama = {
    "llama", "Llama 1 to 3.2, SmolLM, TinyLlama and others of the same shape",
    [](const ModelFiles& files, const LoadOptions& options, Progress& progress) -> std::unique_ptr<Model> {
      return std::make_unique<Llama>(files, options, progress);
    }};

}  // namespace kvlab
