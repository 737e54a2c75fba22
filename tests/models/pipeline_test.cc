// The pipeline's law of order, held by a model and attentions that do nothing but watch: a piece of work
// starts when all that it reads is there, everything is done once, and failures come out.
#include "models/pipeline.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "base/random.h"
#include "support/thread_count.h"

namespace kvlab {
namespace {

using testing::ThreadCount;

std::vector<Segment> segments_of(const std::vector<std::vector<int32_t>>& tokens) {
  std::vector<Segment> segments(tokens.size());
  for (size_t s = 0; s < tokens.size(); ++s) segments[s].tokens = tokens[s];
  return segments;
}

std::vector<Piece> pieces_of_lengths(const std::vector<int>& lengths) {
  std::vector<std::vector<int32_t>> tokens;
  for (const int length : lengths) tokens.emplace_back(length);
  return cut_pieces(segments_of(tokens));
}

using PieceNumbers = std::array<int, 4>;  // segment, number, row, rows

PieceNumbers numbers_of(const Piece& p) {
  return {p.segment, p.number, p.row, p.rows};
}

TEST(CutPieces, AreCutFromEachSegmentsFirstRow) {
  std::vector<PieceNumbers> got;
  for (const Piece& p : pieces_of_lengths({70, 1, 0, 57, 65})) got.push_back(numbers_of(p));
  const std::vector<PieceNumbers> wanted = {{0, 0, 0, 64},  {0, 1, 64, 6},   {1, 0, 70, 1},
                                            {3, 0, 71, 57}, {4, 0, 128, 64}, {4, 1, 192, 1}};
  EXPECT_EQ(got, wanted);
  EXPECT_TRUE(pieces_of_lengths({}).empty());
  EXPECT_TRUE(pieces_of_lengths({0}).empty());
}

TEST(CutPieces, CoverEveryRowOnce) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> lengths(1 + random() % 8);
    for (int& length : lengths) length = static_cast<int>(random() % (round % 2 ? 5 : 200));
    int row = 0;
    size_t next = 0;
    const std::vector<Piece> pieces = pieces_of_lengths(lengths);
    for (int s = 0; s < static_cast<int>(lengths.size()); ++s) {
      const int end = row + lengths[s];
      for (int number = 0; row < end; ++number, ++next) {
        ASSERT_LT(next, pieces.size());
        const Piece& p = pieces[next];
        EXPECT_EQ(numbers_of(p), (PieceNumbers{s, number, row, std::min(kBlockRows, end - row)}));
        EXPECT_EQ(p.first_block(), row / kBlockRows);
        EXPECT_LE(p.last_block(), p.first_block() + 1);
        row += p.rows;
      }
      EXPECT_EQ(row, end) << "a piece belongs to one segment";
    }
    EXPECT_EQ(next, pieces.size());
  }
}

// One pipeline under test.
struct Shape {
  std::vector<int> lengths, chains;  // of each segment
  std::vector<bool> watched;         // segments that want whole layers
  int layers = 1;
  int threads = 1;
  uint64_t seed = 0;  // of the delays
};

// What fails, if anything: dense work of (stage, block), or chain `chain` at (layer, piece in all pieces).
struct Failure {
  enum Where { kNowhere, kDense, kAttend } where = kNowhere;
  int layer = 0, place = 0, chain = 0;
};

// Keeps the books of one run. Every wrong step becomes a line of `wrong`.
class Books {
 public:
  Books(const Shape& shape, Failure failure) : shape_(shape), failure_(failure) {
    for (const int length : shape.lengths) {
      first_row_.push_back(rows_);
      rows_ += length;
    }
    pieces_ = pieces_of_lengths(shape.lengths);
  }

  void begin_dense(int stage, int first_row, int rows, int thread) {
    const std::lock_guard lock(mutex_);
    const int block = first_row / kBlockRows;
    check(first_row % kBlockRows == 0 && rows == std::min(kBlockRows, rows_ - first_row), "rows of a block");
    check(thread >= 0 && thread < shape_.threads, "thread number");
    check(working_.insert(thread).second, "two pieces of work with one thread's memory");
    check(stage == 0 || dense_.contains({stage - 1, block}), "dense work before that of the layer before");
    for (size_t p = 0; stage > 0 && p < pieces_.size(); ++p) {
      if (pieces_[p].first_block() > block || pieces_[p].last_block() < block) continue;
      for (int chain = 0; chain < shape_.chains[pieces_[p].segment]; ++chain)
        check(attended_.contains({stage - 1, p, chain}), "dense work before the attention that it reads");
    }
  }
  void end_dense(int stage, int first_row, int thread) {
    delay(stage, first_row, -1);
    const int block = first_row / kBlockRows;
    const std::lock_guard lock(mutex_);
    working_.erase(thread);
    if (failure_.where == Failure::kDense && failure_.layer == stage && failure_.place == block)
      throw std::runtime_error("dense failed");
    check(dense_.insert({stage, block}).second, "dense work done twice");
  }
  void prepare(int segment, const AttentionBlock& piece) {
    const std::lock_guard lock(mutex_);
    const size_t p = find(segment, piece);
    check(dense_.contains({piece.layer, pieces_[p].first_block()}) &&
              dense_.contains({piece.layer, pieces_[p].last_block()}),
          "a piece prepared before its dense work");
    check(prepared_.insert({piece.layer, p}).second, "a piece prepared twice");
  }
  void see(int segment, const AttentionBlock& layer) {
    const std::lock_guard lock(mutex_);
    check(shape_.watched[segment], "a layer shown to one who does not look on");
    check(layer.first == first_row_[segment] && layer.rows == shape_.lengths[segment], "rows of a layer");
    check(seen_[segment]++ == layer.layer, "layers shown once and in order");
    for (size_t p = 0; p < pieces_.size(); ++p) {
      if (pieces_[p].segment != segment) continue;
      check(prepared_.contains({layer.layer, p}), "a layer shown before it is prepared");
      check(!attended_.contains({layer.layer, p, 0}), "a layer shown after it was attended to");
    }
  }
  void attend(int segment, const AttentionBlock& piece, int chain) {
    size_t p;
    {
      const std::lock_guard lock(mutex_);
      p = find(segment, piece);
      check(prepared_.contains({piece.layer, p}), "attention before its piece is prepared");
      check(chain >= 0 && chain < shape_.chains[segment], "chain number");
      check(!shape_.watched[segment] || seen_[segment] == piece.layer + 1,
            "attention before the layer is shown");
      check(next_[{piece.layer, segment, chain}]++ == piece.piece, "a chain's pieces out of order");
      check(running_.insert({piece.layer, segment, chain}).second, "a chain runs twice at a time");
    }
    delay(piece.layer, static_cast<int>(p), chain);
    const std::lock_guard lock(mutex_);
    running_.erase({piece.layer, segment, chain});
    if (failure_.where == Failure::kAttend && failure_.layer == piece.layer &&
        failure_.place == static_cast<int>(p) && failure_.chain == chain)
      throw std::runtime_error("attend failed");
    check(attended_.insert({piece.layer, p, chain}).second, "a piece attended to twice");
  }

  // After a run without failure: everything was done.
  void expect_all_done() const {
    EXPECT_EQ(dense_.size(), size_t{1} * (shape_.layers + 1) * ((rows_ + kBlockRows - 1) / kBlockRows));
    EXPECT_EQ(prepared_.size(), shape_.layers * pieces_.size());
    size_t attends = 0;
    for (const Piece& p : pieces_) attends += static_cast<size_t>(shape_.layers) * shape_.chains[p.segment];
    EXPECT_EQ(attended_.size(), attends);
    for (const auto& [segment, layers] : seen_) EXPECT_EQ(layers, shape_.layers) << "segment " << segment;
  }
  void expect_lawful() const {
    EXPECT_TRUE(wrong_.empty()) << wrong_.size() << " wrong steps, the first: " << wrong_.front();
  }
  int first_row(int segment) const { return first_row_[segment]; }
  const Shape& shape() const { return shape_; }

 private:
  void check(bool right, const char* law) {
    if (!right) wrong_.emplace_back(law);
  }
  size_t find(int segment, const AttentionBlock& piece) {
    for (size_t p = 0; p < pieces_.size(); ++p) {
      if (pieces_[p].segment != segment || pieces_[p].number != piece.piece) continue;
      check(pieces_[p].row == piece.first && pieces_[p].rows == piece.rows, "rows of a piece");
      return p;
    }
    check(false, "a piece that does not exist");
    return 0;
  }
  // Some work takes a moment, so that the threads' orders differ.
  void delay(int layer, int place, int chain) const {
    const uint64_t key = mix64(shape_.seed ^ static_cast<uint64_t>(layer * 10007 + place * 101 + chain));
    if (key % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(key / 4 % 60));
    if (key % 4 == 1) std::this_thread::yield();
  }

  const Shape shape_;
  const Failure failure_;
  std::vector<int> first_row_;
  int rows_ = 0;
  std::vector<Piece> pieces_;
  std::mutex mutex_;
  std::vector<std::string> wrong_;
  std::set<int> working_;                            // threads in dense work
  std::set<std::pair<int, int>> dense_;              // (stage, block)
  std::set<std::pair<int, size_t>> prepared_;        // (layer, piece)
  std::set<std::tuple<int, size_t, int>> attended_;  // (layer, piece, chain)
  std::map<std::tuple<int, int, int>, int> next_;    // (layer, segment, chain)
  std::set<std::tuple<int, int, int>> running_;      // the same
  std::map<int, int> seen_;                          // layers, by segment
};

class WatchedAttention : public AttentionProvider {
 public:
  WatchedAttention(Books& books, int segment) : books_(books), segment_(segment) {}
  bool wants_hidden() const override { return false; }
  bool wants_whole_layers() const override { return books_.shape().watched[segment_]; }
  int chains() const override { return books_.shape().chains[segment_]; }
  void prepare(const AttentionBlock& piece) override { books_.prepare(segment_, piece); }
  void see(const AttentionBlock& layer) override { books_.see(segment_, layer); }
  void attend(const AttentionBlock& piece, int chain) override { books_.attend(segment_, piece, chain); }

 private:
  Books& books_;
  int segment_;
};

class WatchedWork : public LayerWork {
 public:
  explicit WatchedWork(Books& books) : books_(books) {}
  void dense(int stage, int first_row, int rows, int thread) override {
    books_.begin_dense(stage, first_row, rows, thread);
    books_.end_dense(stage, first_row, thread);
  }
  AttentionBlock attention_rows(int layer, int, int first_row, int rows) override {
    AttentionBlock block;
    block.layer = layer;
    block.first = first_row;
    block.rows = rows;
    return block;
  }

 private:
  Books& books_;
};

void run_watched(Books& books) {
  const Shape& shape = books.shape();
  const ThreadCount threads(shape.threads);
  std::vector<std::vector<int32_t>> tokens;
  for (const int length : shape.lengths) tokens.emplace_back(length);
  std::vector<Segment> segments = segments_of(tokens);
  std::deque<WatchedAttention> attention;
  for (size_t s = 0; s < segments.size(); ++s)
    segments[s].attention = &attention.emplace_back(books, static_cast<int>(s));
  WatchedWork work(books);
  run_pipeline(segments, shape.layers, work);
}

Shape random_shape(std::mt19937& random, bool watched) {
  static constexpr int kLengths[] = {1, 1, 2, 17, 63, 64, 65, 130};
  Shape shape;
  const auto segments = 1 + random() % 7;
  for (size_t s = 0; s < segments; ++s) {
    shape.lengths.push_back(random() % 3 ? kLengths[random() % std::size(kLengths)]
                                         : static_cast<int>(1 + random() % 300));
    shape.chains.push_back(static_cast<int>(1 + random() % 5));
    shape.watched.push_back(watched && (s == 0 || random() % 2));
  }
  shape.layers = static_cast<int>(1 + random() % 4);
  shape.threads = static_cast<int>(1 + random() % 4);
  shape.seed = random();
  return shape;
}

std::string text(const Shape& shape) {
  std::string segments;
  for (size_t s = 0; s < shape.lengths.size(); ++s)
    segments += fmt::format(" {} rows in {} chains,", shape.lengths[s], shape.chains[s]);
  return fmt::format("{} layers, {} threads,{} seed {}", shape.layers, shape.threads, segments, shape.seed);
}

TEST(Pipeline, KeepsTheOrder) {
  std::mt19937 random(2);
  for (int round = 0; round < 120; ++round) {
    const Shape shape = random_shape(random, false);
    SCOPED_TRACE(text(shape));
    Books books(shape, {});
    run_watched(books);
    books.expect_lawful();
    books.expect_all_done();
    if (HasFailure()) return;
  }
}

TEST(Pipeline, ShowsWholeLayersToThoseWhoLookOn) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    const Shape shape = random_shape(random, true);
    SCOPED_TRACE(text(shape));
    Books books(shape, {});
    run_watched(books);
    books.expect_lawful();
    books.expect_all_done();
    if (HasFailure()) return;
  }
}

// The exception comes out, and nothing that reads what failed has run.
TEST(Pipeline, PassesFailuresOn) {
  std::mt19937 random(4);
  for (int round = 0; round < 120; ++round) {
    const Shape shape = random_shape(random, round % 3 == 0);
    const std::vector<Piece> pieces = pieces_of_lengths(shape.lengths);
    const size_t piece = random() % pieces.size();
    const int chain = static_cast<int>(random()) & 0xff;
    Failure failure{Failure::kAttend, static_cast<int>(random() % shape.layers), static_cast<int>(piece),
                    chain % shape.chains[pieces[piece].segment]};
    if (round % 2) failure = {Failure::kDense, failure.layer, pieces[piece].first_block(), 0};
    SCOPED_TRACE(fmt::format("{}, {} of {} fails at layer {}", text(shape), failure.place,
                             round % 2 ? "dense blocks" : "pieces", failure.layer));
    Books books(shape, failure);
    try {
      run_watched(books);
      ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), round % 2 ? "dense failed" : "attend failed");
    }
    books.expect_lawful();
    if (HasFailure()) return;
  }
}

TEST(Pipeline, NoRowsAreNoWork) {
  Books books({{0}, {2}, {false}, 3, 2, 0}, {});
  run_watched(books);
  books.expect_lawful();
  books.expect_all_done();
}

}  // namespace
}  // namespace kvlab
