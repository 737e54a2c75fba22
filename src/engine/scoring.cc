#include "engine/scoring.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/narrow_gemm.h"

namespace kvlab {

namespace {

// Runs work(first row, rows, scratch) over blocks of positions in parallel.
struct HeadScratch {
  GemmScratch gemm;
  Buffer<float> own, base;
};

template <typename Work>
void each_block(int64_t rows, Work&& work) {
  const auto blocks = static_cast<int>((rows + OutputHead::kRows - 1) / OutputHead::kRows);
  std::vector<HeadScratch> scratch(thread_count());
  parallel_tasks(blocks, [&](int block, int thread) {
    const int64_t first = static_cast<int64_t>(block) * OutputHead::kRows;
    work(first, static_cast<int>(std::min<int64_t>(OutputHead::kRows, rows - first)), scratch[thread]);
  });
}

std::vector<HeadState> block_states(const OutputHead& head, const float* hidden, int rows,
                                    const int32_t* targets, HeadScratch& scratch) {
  scratch.own.reserve_discard(OutputHead::kRows * OutputHead::kSlab);
  std::vector<HeadState> states(rows);
  for (int slab = 0; slab < head.slabs(); ++slab) {
    head.logits(slab, hidden, rows, scratch.own.data(), scratch.gemm);
    for (int r = 0; r < rows; ++r) {
      head_update(states[r], scratch.own.data() + static_cast<int64_t>(r) * OutputHead::kSlab,
                  head.slab_first(slab), head.slab_size(slab), targets ? targets[r] : -1);
    }
  }
  return states;
}

}  // namespace

std::vector<float> token_losses(const Model& model, const HiddenStates& states,
                                std::span<const int32_t> targets) {
  KVLAB_CHECK(static_cast<int64_t>(targets.size()) <= states.rows);
  std::vector<float> nll(targets.size());
  each_block(static_cast<int64_t>(targets.size()), [&](int64_t first, int rows, HeadScratch& scratch) {
    const auto heads = block_states(model.head(), states.row(first), rows, targets.data() + first, scratch);
    for (int r = 0; r < rows; ++r) nll[first + r] = static_cast<float>(head_nll(heads[r]));
  });
  return nll;
}

Fidelity compare_states(const Model& model, const HiddenStates& base, const HiddenStates& own, int64_t rows) {
  KVLAB_CHECK(rows <= base.rows && rows <= own.rows);
  const OutputHead& head = model.head();
  Fidelity result{std::vector<float>(rows), std::vector<uint8_t>(rows)};
  each_block(rows, [&](int64_t first, int count, HeadScratch& scratch) {
    scratch.own.reserve_discard(OutputHead::kRows * OutputHead::kSlab);
    scratch.base.reserve_discard(OutputHead::kRows * OutputHead::kSlab);
    std::vector<PairState> pairs(count);
    for (int slab = 0; slab < head.slabs(); ++slab) {
      head.logits(slab, base.row(first), count, scratch.base.data(), scratch.gemm);
      head.logits(slab, own.row(first), count, scratch.own.data(), scratch.gemm);
      for (int r = 0; r < count; ++r) {
        const int64_t offset = static_cast<int64_t>(r) * OutputHead::kSlab;
        pair_update(pairs[r], scratch.base.data() + offset, scratch.own.data() + offset,
                    head.slab_first(slab), head.slab_size(slab), -1);
      }
    }
    for (int r = 0; r < count; ++r) {
      result.kl[first + r] = static_cast<float>(pair_kl(pairs[r]));
      result.same_top[first + r] = pairs[r].base.argmax == pairs[r].own.argmax;
    }
  });
  return result;
}

std::vector<int32_t> most_likely(const Model& model, const HiddenStates& states) {
  std::vector<int32_t> tokens(states.rows);
  if (states.rows <= kNarrowRows) {
    const int vocab = model.head().vocab();
    const std::vector<float> logits = next_logits(model, states, 0, states.rows);
    for (int64_t r = 0; r < states.rows; ++r) {
      const float* row = logits.data() + r * vocab;
      tokens[r] = static_cast<int32_t>(std::max_element(row, row + vocab) - row);
    }
    return tokens;
  }
  each_block(states.rows, [&](int64_t first, int rows, HeadScratch& scratch) {
    const auto heads = block_states(model.head(), states.row(first), rows, nullptr, scratch);
    for (int r = 0; r < rows; ++r) tokens[first + r] = heads[r].argmax;
  });
  return tokens;
}

int32_t most_likely(const Model& model, const HiddenStates& states, int64_t row) {
  const std::vector<float> logits = next_logits(model, states, row);
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::vector<float> next_logits(const Model& model, const HiddenStates& states, int64_t first, int64_t rows) {
  KVLAB_CHECK(rows >= 0 && rows <= kNarrowRows && first >= 0 && first + rows <= states.rows);
  std::vector<float> logits(static_cast<size_t>(rows) * model.head().vocab());
  if (rows) model.head().narrow_logits(states.row(first), static_cast<int>(rows), logits.data());
  return logits;
}

}  // namespace kvlab
