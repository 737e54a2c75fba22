#include "models/decoder_pass.h"

#include <algorithm>

#include "base/threads.h"
#include "kernels/elementwise.h"

namespace kvlab {

DecoderPass::DecoderPass(const Decoder& model, std::span<const Segment> segments)
    : model_(model),
      config_(model.config_),
      qkv_size_((config_.query_heads + 2 * config_.kv_heads) * config_.head_dim),
      mixed_size_(config_.query_heads * config_.head_dim),
      segments_(segments),
      scratch_(thread_count()) {
  bool with_hidden = false;
  for (const Segment& segment : segments) {
    const auto tokens = static_cast<int>(segment.tokens.size());
    first_row_.push_back(row_count());
    for (int i = 0; i < tokens; ++i) rows_.push_back({&segment, i});
    rotary_.emplace_back(model.frequencies_, segment.first - segment.rotary_shift, tokens,
                         config_.rotary.magnitude);
    if (config_.window_rotary) {
      window_rotary_.emplace_back(model.window_frequencies_, segment.first - segment.rotary_shift, tokens,
                                  config_.window_rotary->magnitude);
    }
    with_hidden |= segment.attention->wants_hidden();
  }
  x_ = Buffer<float>(rows_.size() * config_.hidden);
  qkv_ = Buffer<float>(rows_.size() * qkv_size_);
  mixed_ = Buffer<float>(rows_.size() * mixed_size_);
  if (with_hidden) hidden_ = Buffer<float>(rows_.size() * config_.hidden);
  if (!narrow()) return;
  inner_ = Buffer<float>(rows_.size() * 2 * config_.intermediate);
  product_ = Buffer<float>(rows_.size() * config_.hidden);
}

void DecoderPass::dense(int stage, int first_row, int rows, int thread) {
  Scratch& scratch = scratch_[thread];
  if (stage == 0) {
    embed(first_row, rows);
  } else {
    after_attention(model_.layers_[stage - 1], first_row, rows, scratch);
  }
  if (stage < config_.layers) {
    before_attention(stage, first_row, rows, scratch);
  } else {
    finish(first_row, rows);
  }
}

AttentionBlock DecoderPass::attention_rows(int layer, int segment, int first_row, int rows) {
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

void DecoderPass::embed(int first_row, int rows) {
  const auto scale = static_cast<float>(config_.embedding_scale);
  for (int r = first_row; r < first_row + rows; ++r) {
    model_.weights_->read_rows(model_.embedding_, rows_[r].segment->tokens[rows_[r].token], 1, x_row(r));
    if (scale == 1) continue;
    for (int i = 0; i < config_.hidden; ++i) x_row(r)[i] *= scale;
  }
}

void DecoderPass::finish(int first_row, int rows) {
  for (int r = first_row; r < first_row + rows; ++r) {
    model_.apply(model_.final_norm_, x_row(r), config_.hidden,
                 rows_[r].segment->hidden_out + int64_t{1} * rows_[r].token * config_.hidden);
  }
}

void DecoderPass::turn(int layer, int row) {
  const Decoder::Layer& weights = model_.layers_[layer];
  const bool own = config_.window(layer) > 0 && !window_rotary_.empty();
  const RotaryTable& table = (own ? window_rotary_ : rotary_)[rows_[row].segment - segments_.data()];
  const RotarySettings& settings = config_.rotary_of(layer);
  for (int head = 0; head < config_.query_heads + config_.kv_heads; ++head) {
    float* x = qkv_row(row) + head * config_.head_dim;
    const Decoder::Norm& norm = head < config_.query_heads ? weights.query_norm : weights.key_norm;
    if (norm.given()) model_.apply(norm, x, config_.head_dim, x);
    rotate_half_split(x, table.cos_row(rows_[row].token), table.sin_row(rows_[row].token), settings.dims);
  }
}

void DecoderPass::add(const Decoder::Norm& norm, const float* product, float* x) {
  if (!norm.given()) return add_to(product, config_.hidden, x);
  thread_local std::vector<float> normed;
  normed.resize(config_.hidden);
  model_.apply(norm, product, config_.hidden, normed.data());
  add_to(normed.data(), config_.hidden, x);
}

void DecoderPass::activate_row(const Decoder::Layer& layer, const float* up, float* out) const {
  const int size = config_.intermediate;
  if (layer.gated) return activate_mul(config_.activation, up, up + size, size, out);
  if (out != up) std::copy_n(up, size, out);
  activate(config_.activation, out, size);
}

void DecoderPass::before_attention(int layer, int first_row, int rows, Scratch& s) {
  const Decoder::Layer& weights = model_.layers_[layer];
  const int hidden = config_.hidden;
  s.norm.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
  float* norm = hidden_.size() ? hidden_.data() + int64_t{1} * first_row * hidden : s.norm.data();
  for (int r = 0; r < rows; ++r)
    model_.apply(weights.input_norm, x_row(first_row + r), hidden, norm + int64_t{1} * r * hidden);
  weights.qkv.apply(norm, hidden, rows, qkv_row(first_row), qkv_size_, s.gemm);
  for (int r = first_row; r < first_row + rows; ++r) turn(layer, r);
}

void DecoderPass::after_attention(const Decoder::Layer& layer, int first_row, int rows, Scratch& s) {
  const int hidden = config_.hidden, up = up_size(layer);
  s.norm.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
  s.product.reserve_discard(static_cast<size_t>(kBlockRows) * hidden);
  s.inner.reserve_discard(static_cast<size_t>(kBlockRows) * up);
  const auto norm_rows = [&] {
    for (int r = 0; r < rows; ++r)
      model_.apply(layer.mlp_norm, x_row(first_row + r), hidden, s.norm.data() + int64_t{1} * r * hidden);
  };
  const auto add_rows = [&](const Decoder::Norm& norm) {
    for (int r = 0; r < rows; ++r)
      add(norm, s.product.data() + int64_t{1} * r * hidden, x_row(first_row + r));
  };
  if (config_.parallel_residual) norm_rows();
  layer.output.apply(mixed_row(first_row), mixed_size_, rows, s.product.data(), hidden, s.gemm);
  add_rows(layer.attention_norm);
  if (!config_.parallel_residual) norm_rows();
  layer.up.apply(s.norm.data(), hidden, rows, s.inner.data(), up, s.gemm);
  for (int r = 0; r < rows; ++r) {
    float* inner = s.inner.data() + int64_t{1} * r * up;
    activate_row(layer, inner, inner);
  }
  layer.down.apply(s.inner.data(), up, rows, s.product.data(), hidden, s.gemm);
  add_rows(layer.output_norm);
}

}  // namespace kvlab
