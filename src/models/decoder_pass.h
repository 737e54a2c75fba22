// One forward() of a decoder: the activations, a row for every token of all segments, and what is done with
// them. Internal to src/models.
#pragma once

#include <span>
#include <vector>

#include "base/team.h"
#include "kernels/rotary_table.h"
#include "models/decoder.h"
#include "models/pipeline.h"

namespace kvlab {

class DecoderPass : public LayerWork {
 public:
  DecoderPass(const Decoder& model, std::span<const Segment> segments);

  // Whether the rows are so few that reading the weights takes the time.
  bool narrow() const;
  // Few rows: all threads go through a layer together, each with its share of the columns, so that weights
  // are read once.
  void run_narrow();

  void dense(int stage, int first_row, int rows, int thread) override;
  AttentionBlock attention_rows(int layer, int segment, int first_row, int rows) override;

 private:
  struct Row {
    const Segment* segment;
    int token;  // within the segment
  };
  // Working memory of one thread, for a block of positions.
  struct Scratch {
    Buffer<float> norm, inner, product;
    GemmScratch gemm;
    NarrowScratch narrow;
  };

  int row_count() const { return static_cast<int>(rows_.size()); }
  float* x_row(int r) { return x_.data() + int64_t{1} * r * config_.hidden; }
  float* qkv_row(int r) { return qkv_.data() + int64_t{1} * r * qkv_size_; }
  float* mixed_row(int r) { return mixed_.data() + int64_t{1} * r * mixed_size_; }

  void embed(int first_row, int rows);
  void finish(int first_row, int rows);
  // Norms of query and key heads, and rotary positions.
  void turn(int layer, int row);
  // x += what attention or MLP gave, normed first where the architecture does that.
  void add(const Decoder::Norm& norm, const float* product, float* x);
  // The activation of one row of the MLP, gated or not; `out` may be `up`.
  void activate_row(const Decoder::Layer& layer, const float* up, float* out) const;
  int up_size(const Decoder::Layer& layer) const { return (layer.gated ? 2 : 1) * config_.intermediate; }

  void before_attention(int layer, int first_row, int rows, Scratch& s);
  void after_attention(const Decoder::Layer& layer, int first_row, int rows, Scratch& s);

  void narrow_norm(const Decoder::Norm& norm, Scratch& s);
  void narrow_before_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me, Scratch& s);
  void narrow_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me);
  void narrow_after_attention(const Decoder::Layer& layer, Team::Member& me, Scratch& s);
  const float* activated_rows(const Decoder::Layer& layer, Scratch& s);
  void narrow_up(const Decoder::Layer& layer, Team::Member& me, Scratch& s);
  // x += W in, W's columns shared out; with a norm in between, through the rows of product_.
  void narrow_residual(const Linear& linear, const Decoder::Norm& norm, const float* in, int64_t in_stride,
                       Team::Member& me, Scratch& s);
  AttentionBlock piece_rows(int layer, const Piece& piece);

  const Decoder& model_;
  const ModelConfig& config_;
  int qkv_size_, mixed_size_;
  std::span<const Segment> segments_;
  std::vector<Row> rows_;
  std::vector<int> first_row_;                       // of each segment
  std::vector<RotaryTable> rotary_, window_rotary_;  // of each segment; the second one only where it differs
  Buffer<float> x_, qkv_, mixed_, hidden_;
  Buffer<float> inner_, product_;  // of few rows
  std::vector<Scratch> scratch_;
};

}  // namespace kvlab
