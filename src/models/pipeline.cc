#include "models/pipeline.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <queue>

#include "base/threads.h"

namespace kvlab {

namespace {

// A piece of work that can start. Lower layers first, so that few layers are in work at a time and a layer's
// weights stay in the shared cache; within a layer attention first, since its chains take longest; of its
// chains the least advanced.
struct Task {
  int layer = 0;  // stage - 1 of dense work, so that it follows the attention before it
  bool dense = false;
  int order = 0;  // block
  int piece = 0, chain = 0;
};

struct Later {
  bool operator()(const Task& a, const Task& b) const {
    if (a.layer != b.layer) return a.layer > b.layer;
    if (a.dense != b.dense) return a.dense;
    return a.order != b.order ? a.order > b.order : a.chain > b.chain;
  }
};

class Pipeline {
 public:
  Pipeline(std::span<const Segment> segments, int layers, LayerWork& work)
      : segments_(segments), layers_(layers), work_(work), pieces_(cut_pieces(segments)) {
    for (const Segment& segment : segments) rows_ += static_cast<int>(segment.tokens.size());
    blocks_.resize((rows_ + kBlockRows - 1) / kBlockRows);
    chains_.resize(segments.size());
    prepared_.resize(pieces_.size());
    for (int p = 0; p < static_cast<int>(pieces_.size()); ++p) {
      for (int b = pieces_[p].first_block(); b <= pieces_[p].last_block(); ++b)
        blocks_[b].pieces.push_back(p);
      chains_[pieces_[p].segment].pieces.push_back(p);
    }
    for (size_t s = 0; s < segments.size(); ++s) {
      chains_[s].count = segments[s].attention->chains();
      chains_[s].next.assign(static_cast<size_t>(layers) * chains_[s].count, 0);
      chains_[s].running.assign(chains_[s].next.size(), 0);
    }
    for (int b = 0; b < static_cast<int>(blocks_.size()); ++b) ready_.push({-1, true, b, 0, 0});
    left_ = blocks_.size();
  }

  void run() {
#pragma omp parallel
    work_until_done(omp_get_thread_num());
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Block {
    std::vector<int> pieces;
    int stages_done = 0;
    int pending = 0;  // chains that must still attend to its pieces at this layer
  };
  // The chains of a segment at every layer: [layer * count + chain].
  struct Chains {
    int count = 0;
    std::vector<int> pieces;
    std::vector<int> next;  // index into `pieces`
    std::vector<char> running;
  };

  void work_until_done(int thread) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return left_ == 0 || error_ || !ready_.empty(); });
      if (left_ == 0 || error_) return;
      const Task task = ready_.top();
      ready_.pop();
      if (!ready_.empty()) changed_.notify_one();
      try {
        task.dense ? do_dense(task.layer + 1, task.order, thread, lock) : do_attention(task, lock);
      } catch (...) {
        if (!lock.owns_lock()) lock.lock();
        if (!error_) error_ = std::current_exception();
      }
      if (error_ || left_ == 0) changed_.notify_all();
    }
  }

  // Both are called with the lock held, let it go while they work, and hold it again at the end.
  void do_dense(int stage, int block, int thread, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    work_.dense(stage, block * kBlockRows, std::min(kBlockRows, rows_ - block * kBlockRows), thread);
    lock.lock();
    blocks_[block].stages_done = stage + 1;
    if (stage == layers_) {
      --left_;
      return;
    }
    std::vector<int> complete;  // pieces whose last rows these were
    for (const int p : blocks_[block].pieces) {
      blocks_[block].pending += chains_[pieces_[p].segment].count;
      if (has_rows(stage, pieces_[p])) complete.push_back(p);
    }
    lock.unlock();
    for (const int p : complete) segments_[pieces_[p].segment].attention->prepare(rows_of(stage, p));
    lock.lock();
    for (const int p : complete) {
      prepared_[p] = stage + 1;
      for (int chain = 0; chain < chains_[pieces_[p].segment].count; ++chain)
        start_chain(stage, pieces_[p].segment, chain);
    }
  }

  void do_attention(const Task& task, std::unique_lock<std::mutex>& lock) {
    const Piece& piece = pieces_[task.piece];
    lock.unlock();
    segments_[piece.segment].attention->attend(rows_of(task.layer, task.piece), task.chain);
    lock.lock();
    Chains& chains = chains_[piece.segment];
    const size_t index = static_cast<size_t>(task.layer) * chains.count + task.chain;
    ++chains.next[index];
    chains.running[index] = 0;
    start_chain(task.layer, piece.segment, task.chain);
    for (int b = piece.first_block(); b <= piece.last_block(); ++b) {
      if (--blocks_[b].pending == 0) ready_.push({task.layer, true, b, 0, 0});
    }
  }

  // Whether the dense work of stage `stage` is done for all of a piece.
  bool has_rows(int stage, const Piece& piece) const {
    return blocks_[piece.first_block()].stages_done > stage &&
           blocks_[piece.last_block()].stages_done > stage;
  }

  AttentionBlock rows_of(int layer, int piece) {
    const Piece& p = pieces_[piece];
    AttentionBlock block = work_.attention_rows(layer, p.segment, p.row, p.rows);
    block.piece = p.number;
    return block;
  }

  // Makes a chain's next piece ready if it is prepared.
  void start_chain(int layer, int segment, int chain) {
    Chains& chains = chains_[segment];
    const size_t index = static_cast<size_t>(layer) * chains.count + chain;
    if (chains.running[index] || chains.next[index] == static_cast<int>(chains.pieces.size())) return;
    const int piece = chains.pieces[chains.next[index]];
    if (prepared_[piece] <= layer) return;
    chains.running[index] = 1;
    ready_.push({layer, false, pieces_[piece].first_block(), piece, chain});
  }

  std::span<const Segment> segments_;
  int layers_;
  LayerWork& work_;
  std::vector<Piece> pieces_;
  int rows_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::priority_queue<Task, std::vector<Task>, Later> ready_;
  std::vector<Block> blocks_;
  std::vector<Chains> chains_;
  std::vector<int> prepared_;  // layers for which a piece is prepared
  size_t left_ = 0;            // blocks that are not through
  std::exception_ptr error_;
};

bool wants_whole_layers(std::span<const Segment> segments) {
  return std::any_of(segments.begin(), segments.end(),
                     [](const Segment& s) { return s.attention->wants_whole_layers(); });
}

// Layer by layer, for those who look on: a layer is shown when all its rows are there.
void run_in_step(std::span<const Segment> segments, int layers, LayerWork& work) {
  const std::vector<Piece> pieces = cut_pieces(segments);
  const int rows = pieces.back().row + pieces.back().rows;
  const int blocks = (rows + kBlockRows - 1) / kBlockRows;
  const auto rows_of = [&](int layer, const Piece& p) {
    AttentionBlock block = work.attention_rows(layer, p.segment, p.row, p.rows);
    block.piece = p.number;
    return block;
  };
  for (int stage = 0; stage <= layers; ++stage) {
    parallel_tasks(blocks, [&](int block, int thread) {
      const int first = block * kBlockRows;
      work.dense(stage, first, std::min(kBlockRows, rows - first), thread);
    });
    if (stage == layers) return;
    for (const Piece& p : pieces) segments[p.segment].attention->prepare(rows_of(stage, p));
    int first = 0;
    for (int s = 0; s < static_cast<int>(segments.size()); ++s) {
      const int count = static_cast<int>(segments[s].tokens.size());
      AttentionProvider& attention = *segments[s].attention;
      if (attention.wants_whole_layers()) attention.see(work.attention_rows(stage, s, first, count));
      parallel_tasks(attention.chains(), [&](int chain, int) {
        for (const Piece& p : pieces) {
          if (p.segment == s) attention.attend(rows_of(stage, p), chain);
        }
      });
      first += count;
    }
  }
}

}  // namespace

std::vector<Piece> cut_pieces(std::span<const Segment> segments) {
  std::vector<Piece> pieces;
  int row = 0;
  for (int s = 0; s < static_cast<int>(segments.size()); ++s) {
    const int end = row + static_cast<int>(segments[s].tokens.size());
    for (int number = 0; row < end; ++number) {
      const int rows = std::min(end - row, kBlockRows);
      pieces.push_back({s, number, row, rows});
      row += rows;
    }
  }
  return pieces;
}

void run_pipeline(std::span<const Segment> segments, int layers, LayerWork& work) {
  if (wants_whole_layers(segments)) return run_in_step(segments, layers, work);
  Pipeline(segments, layers, work).run();
}

}  // namespace kvlab
