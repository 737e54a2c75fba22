// Few rows through a decoder: the team of threads shares every matrix's columns.
#include <algorithm>

#include "kernels/elementwise.h"
#include "models/decoder_pass.h"

namespace kvlab {

bool DecoderPass::narrow() const {
  const bool watched = std::any_of(segments_.begin(), segments_.end(),
                                   [](const Segment& s) { return s.attention->wants_whole_layers(); });
  return rows_.size() <= kNarrowRows && !watched && model_.has_narrow_;
}

void DecoderPass::run_narrow() {
  const std::vector<Piece> pieces = cut_pieces(segments_);
  Team::run([&](Team::Member& me) {
    Scratch& scratch = scratch_[me.thread()];
    const int first = me.first_of(row_count()), rows = me.last_of(row_count()) - first;
    me.step([&] { embed(first, rows); });
    for (int layer = 0; layer < config_.layers; ++layer) {
      narrow_before_attention(layer, pieces, me, scratch);
      me.step([&] { narrow_attention(layer, pieces, me); });
      narrow_after_attention(model_.layers_[layer], me, scratch);
    }
    finish(first, rows);
  });
}

// Every member norms all rows for itself: that is quicker than waiting for another.
void DecoderPass::narrow_norm(const Decoder::Norm& norm, Scratch& s) {
  const int hidden = config_.hidden;
  s.norm.reserve_discard(static_cast<size_t>(row_count()) * hidden);
  for (int r = 0; r < row_count(); ++r)
    model_.apply(norm, x_row(r), hidden, s.norm.data() + int64_t{1} * r * hidden);
}

void DecoderPass::narrow_before_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me,
                                          Scratch& s) {
  const Decoder::Layer& weights = model_.layers_[layer];
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
      for (int r = pieces[p].row; r < pieces[p].row + pieces[p].rows; ++r) turn(layer, r);
      segments_[pieces[p].segment].attention->prepare(piece_rows(layer, pieces[p]));
    }
  });
}

// Chains go round: with one segment every thread takes some of its heads.
void DecoderPass::narrow_attention(int layer, const std::vector<Piece>& pieces, Team::Member& me) {
  int number = 0;
  for (const Piece& piece : pieces) {
    AttentionProvider& attention = *segments_[piece.segment].attention;
    for (int chain = 0; chain < attention.chains(); ++chain) {
      if (number++ % me.threads() == me.thread()) attention.attend(piece_rows(layer, piece), chain);
    }
  }
}

void DecoderPass::narrow_up(const Decoder::Layer& layer, Team::Member& me, Scratch& s) {
  const int up = up_size(layer);
  narrow_norm(layer.mlp_norm, s);
  layer.up.narrow(s.norm.data(), config_.hidden, row_count(), me.thread(), me.threads(), inner_.data(), up,
                  false, s.narrow);
}

void DecoderPass::narrow_residual(const Linear& linear, const Decoder::Norm& norm, const float* in,
                                  int64_t in_stride, Team::Member& me, Scratch& s) {
  const int hidden = config_.hidden;
  const bool direct = !norm.given();
  me.step([&] {
    linear.narrow(in, in_stride, row_count(), me.thread(), me.threads(), direct ? x_row(0) : product_.data(),
                  hidden, direct, s.narrow);
  });
  if (direct) return;
  me.step([&] {
    for (int r = me.first_of(row_count()); r < me.last_of(row_count()); ++r)
      add(norm, product_.data() + int64_t{1} * r * hidden, x_row(r));
  });
}

void DecoderPass::narrow_after_attention(const Decoder::Layer& layer, Team::Member& me, Scratch& s) {
  // Side by side, the MLP reads what attention has not been added to yet.
  if (config_.parallel_residual) me.step([&] { narrow_up(layer, me, s); });
  narrow_residual(layer.output, layer.attention_norm, mixed_row(0), mixed_size_, me, s);
  if (!config_.parallel_residual) me.step([&] { narrow_up(layer, me, s); });
  narrow_residual(layer.down, layer.output_norm, activated_rows(layer, s), config_.intermediate, me, s);
}

// Every member activates all rows for itself: that is less work than another meeting.
const float* DecoderPass::activated_rows(const Decoder::Layer& layer, Scratch& s) {
  const int inner = config_.intermediate, up = up_size(layer);
  s.inner.reserve_discard(static_cast<size_t>(row_count()) * inner);
  for (int r = 0; r < row_count(); ++r)
    activate_row(layer, inner_.data() + int64_t{1} * r * up, s.inner.data() + int64_t{1} * r * inner);
  return s.inner.data();
}

AttentionBlock DecoderPass::piece_rows(int layer, const Piece& piece) {
  AttentionBlock block = attention_rows(layer, piece.segment, piece.row, piece.rows);
  block.piece = piece.number;
  return block;
}

}  // namespace kvlab
