// Runs a model's layers over the tokens of one or more segments. The order of work is free as long as every
// piece of it finds what it needs: a thread takes a block of rows through all dense work between two
// attentions while the block stays in its second-level cache, or one chain of attention through one piece of
// a segment. No barriers: while the last chains of a layer run, other threads go on with the next layer's
// blocks, so that a method whose heads must decide one after the other does not leave cores idle.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"

namespace kvlab {

// Rows that a thread takes at a time. Blocks are cut from the rows of all segments together, so that short
// segments do not waste rows of the matrix products.
inline constexpr int kBlockRows = 64;

// Up to kBlockRows consecutive rows of one segment, cut from the segment's first row on, so that what a
// segment's attention does does not depend on the segments beside it. A piece lies in one block or two.
struct Piece {
  int segment = 0;
  int number = 0;  // within the segment
  int row = 0;     // in the rows of all segments
  int rows = 0;
  int first_block() const { return row / kBlockRows; }
  int last_block() const { return (row + rows - 1) / kBlockRows; }
};

std::vector<Piece> cut_pieces(std::span<const Segment> segments);

// What a model does with rows; called from several threads with different rows.
class LayerWork {
 public:
  virtual ~LayerWork() = default;
  // All dense work between two attentions for a block of rows: that of stage s follows the attention of layer
  // s - 1 and leads to that of layer s. Stage 0 begins with the embedding, the last one, `layers`, ends with
  // the final norm.
  virtual void dense(int stage, int first_row, int rows, int thread) = 0;
  // The queries, keys and values of rows of one segment, for layer `layer`.
  virtual AttentionBlock attention_rows(int layer, int segment, int first_row, int rows) = 0;
};

// Every thread's result is the same for any number of threads. Exceptions are passed on.
void run_pipeline(std::span<const Segment> segments, int layers, LayerWork& work);

}  // namespace kvlab
