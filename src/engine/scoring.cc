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
  Buffer<float> own_rows, base_rows;
};

// The first rows of several runs as one list, which is cut into blocks as if they were one run's.
class RowList {
 public:
  explicit RowList(std::span<const HiddenStates* const> states) : states_(states) {}
  void add(int64_t rows) { ends_.push_back(size() + rows); }
  int64_t size() const { return ends_.empty() ? 0 : ends_.back(); }

  // Which run a row is of.
  size_t run_of(int64_t row) const {
    return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), row) - ends_.begin());
  }
  int64_t first_of(size_t run) const { return run == 0 ? 0 : ends_[run - 1]; }

  // `rows` neighbouring rows side by side; copied to `scratch` where they are of several runs.
  const float* block(int64_t first, int rows, Buffer<float>& scratch) const {
    const size_t run = run_of(first);
    if (first + rows <= ends_[run]) return states_[run]->row(first - first_of(run));
    const int size = states_[run]->size;
    scratch.reserve_discard(static_cast<size_t>(OutputHead::kRows) * size);
    for (int r = 0; r < rows; ++r) {
      const size_t own = run_of(first + r);
      std::copy_n(states_[own]->row(first + r - first_of(own)), size, scratch.data() + int64_t{1} * r * size);
    }
    return scratch.data();
  }

  // Values of all rows, run by run.
  template <typename T>
  std::vector<std::vector<T>> by_run(const std::vector<T>& values) const {
    std::vector<std::vector<T>> runs;
    for (size_t run = 0; run < ends_.size(); ++run)
      runs.emplace_back(values.begin() + first_of(run), values.begin() + ends_[run]);
    return runs;
  }

 private:
  std::span<const HiddenStates* const> states_;
  std::vector<int64_t> ends_;
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

std::vector<Fidelity> compare_rows(const Model& model, const RowList& base, const RowList& own) {
  const OutputHead& head = model.head();
  std::vector<float> kl(own.size());
  std::vector<uint8_t> same_top(own.size());
  each_block(own.size(), [&](int64_t first, int count, HeadScratch& scratch) {
    scratch.own.reserve_discard(OutputHead::kRows * OutputHead::kSlab);
    scratch.base.reserve_discard(OutputHead::kRows * OutputHead::kSlab);
    const float* base_rows = base.block(first, count, scratch.base_rows);
    const float* own_rows = own.block(first, count, scratch.own_rows);
    std::vector<PairState> pairs(count);
    for (int slab = 0; slab < head.slabs(); ++slab) {
      head.logits(slab, base_rows, count, scratch.base.data(), scratch.gemm);
      head.logits(slab, own_rows, count, scratch.own.data(), scratch.gemm);
      for (int r = 0; r < count; ++r) {
        const int64_t offset = static_cast<int64_t>(r) * OutputHead::kSlab;
        pair_update(pairs[r], scratch.base.data() + offset, scratch.own.data() + offset,
                    head.slab_first(slab), head.slab_size(slab), -1);
      }
    }
    for (int r = 0; r < count; ++r) {
      kl[first + r] = static_cast<float>(pair_kl(pairs[r]));
      same_top[first + r] = pairs[r].base.argmax == pairs[r].own.argmax;
    }
  });
  std::vector<std::vector<float>> kl_by_run = own.by_run(kl);
  std::vector<std::vector<uint8_t>> same_by_run = own.by_run(same_top);
  std::vector<Fidelity> result;
  for (size_t run = 0; run < kl_by_run.size(); ++run)
    result.push_back({std::move(kl_by_run[run]), std::move(same_by_run[run])});
  return result;
}

}  // namespace

std::vector<std::vector<float>> token_losses(const Model& model, std::span<const HiddenStates* const> states,
                                             std::span<const std::span<const int32_t>> targets) {
  KVLAB_CHECK(states.size() == targets.size());
  RowList list(states);
  std::vector<int32_t> all;
  for (size_t s = 0; s < states.size(); ++s) {
    KVLAB_CHECK(static_cast<int64_t>(targets[s].size()) <= states[s]->rows);
    list.add(static_cast<int64_t>(targets[s].size()));
    all.insert(all.end(), targets[s].begin(), targets[s].end());
  }
  std::vector<float> nll(all.size());
  each_block(list.size(), [&](int64_t first, int rows, HeadScratch& scratch) {
    const float* hidden = list.block(first, rows, scratch.own_rows);
    const auto heads = block_states(model.head(), hidden, rows, all.data() + first, scratch);
    for (int r = 0; r < rows; ++r) nll[first + r] = static_cast<float>(head_nll(heads[r]));
  });
  return list.by_run(nll);
}

std::vector<float> token_losses(const Model& model, const HiddenStates& states,
                                std::span<const int32_t> targets) {
  const HiddenStates* const one = &states;
  return std::move(token_losses(model, {&one, 1}, {&targets, 1})[0]);
}

std::vector<Fidelity> compare_states(const Model& model, std::span<const HiddenStates* const> base,
                                     std::span<const HiddenStates* const> own) {
  KVLAB_CHECK(base.size() == own.size());
  RowList base_rows(base), own_rows(own);
  for (size_t s = 0; s < own.size(); ++s) {
    KVLAB_CHECK(base[s]->rows == own[s]->rows);
    base_rows.add(own[s]->rows);
    own_rows.add(own[s]->rows);
  }
  return compare_rows(model, base_rows, own_rows);
}

Fidelity compare_states(const Model& model, const HiddenStates& base, const HiddenStates& own, int64_t rows) {
  KVLAB_CHECK(rows <= base.rows && rows <= own.rows);
  const HiddenStates *const one_base = &base, *const one_own = &own;
  RowList base_rows({&one_base, 1}), own_rows({&one_own, 1});
  base_rows.add(rows);
  own_rows.add(rows);
  return std::move(compare_rows(model, base_rows, own_rows)[0]);
}

std::vector<int32_t> most_likely(const Model& model, const HiddenStates& states) {
  std::vector<int32_t> tokens(states.rows);
  if (states.rows <= kNarrowRows) {
    if (states.rows) model.head().narrow_top(states.row(0), static_cast<int>(states.rows), tokens.data());
    return tokens;
  }
  each_block(states.rows, [&](int64_t first, int rows, HeadScratch& scratch) {
    const auto heads = block_states(model.head(), states.row(first), rows, nullptr, scratch);
    for (int r = 0; r < rows; ++r) tokens[first + r] = heads[r].argmax;
  });
  return tokens;
}

int32_t most_likely(const Model& model, const HiddenStates& states, int64_t row) {
  int32_t token = -1;
  model.head().narrow_top(states.row(row), 1, &token);
  return token;
}

std::vector<float> next_logits(const Model& model, const HiddenStates& states, int64_t first, int64_t rows) {
  KVLAB_CHECK(rows >= 0 && rows <= kNarrowRows && first >= 0 && first + rows <= states.rows);
  std::vector<float> logits(static_cast<size_t>(rows) * model.head().vocab());
  if (rows) model.head().narrow_logits(states.row(first), static_cast<int>(rows), logits.data());
  return logits;
}

}  // namespace kvlab
