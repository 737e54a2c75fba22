#include "engine/reconstruction.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/normal_logits.h"
#include "kernels/query_votes.h"
#include "kernels/sgemm.h"

namespace kvlab {

namespace {

// Queries of one head that a task handles.
constexpr int kTaskQueries = 128;

// The method whose budget is in force until the context ends.
const Method& context_method(const KvCache& cache) {
  const Method& method = cache.method();
  return method.context ? *method.context : method;
}

// ||W_O v|| of values, by the Gram matrix of a query head's rows of W_O: v^T W W^T v.
class OutputNorms {
 public:
  OutputNorms(const Model& model, const ModelShape& shape)
      : model_(model), shape_(shape), grams_(static_cast<size_t>(shape.layers)) {}

  void prepare(int layer) {
    std::vector<float>& grams = grams_[static_cast<size_t>(layer)];
    if (!grams.empty()) return;
    grams.resize(static_cast<size_t>(shape_.query_heads) * shape_.head_dim * shape_.head_dim);
    block_grams(model_.kept_output_projection(layer).data(), shape_.query_heads, shape_.head_dim,
                shape_.hidden, grams.data());
  }

  // out[i] for the values v: [count][head_dim].
  void norms(int layer, int query_head, const float* v, int64_t count, float* out) const {
    const int d = shape_.head_dim;
    const std::vector<float> no_mean(static_cast<size_t>(d), 0.0f);
    const float* gram = grams_[static_cast<size_t>(layer)].data() + int64_t{1} * query_head * d * d;
    normal_logits(no_mean.data(), gram, v, count, d, out);
    for (int64_t i = 0; i < count; ++i) out[i] = std::sqrt(std::max(0.0f, out[i]));
  }

 private:
  const Model& model_;
  const ModelShape& shape_;
  std::vector<std::vector<float>> grams_;  // [layer], made once: [query_heads][head_dim][head_dim]
};

// Tokens [begin, end) of the context.
struct Part {
  int64_t begin = 0, end = 0;
};

// Entries of a KV head in order of position.
struct Gathered {
  std::vector<int32_t> positions;
  std::vector<float> k, v;

  void add(const HeadStore& store, int head_dim, int64_t first, int64_t last, bool values) {
    std::vector<std::pair<int32_t, int>> found;
    for (int slot = 0; slot < store.size(); ++slot) {
      if (store.position(slot) >= first && store.position(slot) < last)
        found.emplace_back(store.position(slot), slot);
    }
    std::sort(found.begin(), found.end());
    const auto d = static_cast<size_t>(head_dim);
    for (const auto& [position, slot] : found) {
      positions.push_back(position);
      k.resize(k.size() + d);
      if (values) v.resize(v.size() + d);
      store.read(slot, k.data() + k.size() - d, values ? v.data() + v.size() - d : nullptr);
    }
  }
};

// Looks on while a part is repeated, and raises the scores of its entries.
class PartWatcher : public LayerTap {
 public:
  // `context` is the session's cache, `norms` null for plain KVzip.
  PartWatcher(const KvCache& context, Part part, int64_t sinks, OutputNorms* norms, ContextScores& scores)
      : context_(context),
        shape_(context.method().shape),
        part_(part),
        sinks_(std::min(sinks, part.begin)),
        norms_(norms),
        scores_(scores) {}

  // The cache that repeats; it must outlive what is seen.
  void follow(const KvCache& repeating) { repeating_ = &repeating; }
  bool wants_hidden() const override { return norms_ != nullptr; }

  void see(const LayerBlock& block) override {
    const auto heads = static_cast<size_t>(shape_.kv_heads);
    std::vector<Head> own(heads);
    parallel_tasks(shape_.kv_heads, [&](int head, int) { gather(block, head, own[head]); });
    find_weights(block);
    const int pieces = (block.rows + kTaskQueries - 1) / kTaskQueries;
    std::vector<Workspace> work(static_cast<size_t>(thread_count()));
    for (Workspace& mine : work) mine.peaks.resize(static_cast<size_t>(shape_.query_heads));
    parallel_tasks(shape_.query_heads * pieces, [&](int task, int thread) {
      attend(block, own[task / pieces / shape_.group()], task / pieces, task % pieces * kTaskQueries,
             work[thread]);
    });
    if (norms_) norms_->prepare(block.layer);
    parallel_tasks(shape_.kv_heads, [&](int head, int) { raise(block.layer, head, own[head], work); });
  }

 private:
  // What a KV head's queries see: its first tokens, the part, the repeating tokens.
  struct Head {
    Gathered entries;
    int64_t first = 0, last = 0;  // of the part, among `entries`
    int64_t before = 0;           // entries ahead of the block's own
  };

  struct Workspace {
    std::vector<float> q;          // [queries][head_dim]
    std::vector<int32_t> visible;  // [queries]
    Buffer<float> scratch;
    std::vector<std::vector<float>> peaks;  // [query head][entry of the part]; empty: none seen
  };

  void gather(const LayerBlock& block, int head, Head& own) const {
    const int d = shape_.head_dim;
    const bool values = norms_ != nullptr;
    const HeadStore& store = context_.store(block.layer, head);
    own.entries.add(store, d, 0, sinks_, values);
    own.first = static_cast<int64_t>(own.entries.positions.size());
    own.entries.add(store, d, part_.begin, part_.end, values);
    own.last = static_cast<int64_t>(own.entries.positions.size());
    own.entries.add(repeating_->store(block.layer, head), d, context_.tokens(), block.first, false);
    own.before = static_cast<int64_t>(own.entries.positions.size());
    for (int r = 0; r < block.rows; ++r) {
      const float* k = block.k + r * block.kv_stride + int64_t{1} * head * d;
      own.entries.k.insert(own.entries.k.end(), k, k + d);
    }
  }

  // What each row's attention counts.
  void find_weights(const LayerBlock& block) {
    weights_.assign(static_cast<size_t>(block.rows), 1.0f);
    if (!norms_) return;
    for (int r = 0; r < block.rows; ++r)
      weights_[r] = 1.0f / l2_norm(block.hidden + int64_t{1} * r * shape_.hidden, shape_.hidden);
  }

  void attend(const LayerBlock& block, const Head& own, int query_head, int first_row,
              Workspace& work) const {
    if (own.first == own.last) return;
    const int d = shape_.head_dim, rows = std::min(kTaskQueries, block.rows - first_row);
    work.q.clear();
    work.visible.clear();
    for (int r = first_row; r < first_row + rows; ++r) {
      const float* q = block.q + r * block.q_stride + int64_t{1} * query_head * d;
      work.q.insert(work.q.end(), q, q + d);
      work.visible.push_back(static_cast<int32_t>(own.before + r + 1));
    }
    std::vector<float>& peaks = work.peaks[query_head];
    peaks.resize(static_cast<size_t>(own.last - own.first), 0.0f);
    query_peaks({work.q.data(), work.visible.data(), rows}, weights_.data() + first_row, own.entries.k.data(),
                d, attention_scale(d), own.first, own.last, work.scratch, peaks.data());
  }

  // Takes the most over threads and the group.
  void raise(int layer, int head, const Head& own, const std::vector<Workspace>& work) {
    const auto count = static_cast<size_t>(own.last - own.first);
    std::vector<float>& scores = scores_[static_cast<size_t>(layer) * shape_.kv_heads + head];
    const float* v = norms_ ? own.entries.v.data() + own.first * shape_.head_dim : nullptr;
    std::vector<float> norms(count, 1.0f);
    for (int query_head = head * shape_.group(); query_head < (head + 1) * shape_.group(); ++query_head) {
      if (norms_) norms_->norms(layer, query_head, v, static_cast<int64_t>(count), norms.data());
      for (const Workspace& mine : work) {
        const std::vector<float>& peaks = mine.peaks[query_head];
        for (size_t i = 0; i < peaks.size(); ++i) {
          float& score = scores[own.entries.positions[own.first + static_cast<int64_t>(i)]];
          score = std::max(score, peaks[i] * norms[i]);
        }
      }
    }
  }

  const KvCache& context_;
  const ModelShape& shape_;
  Part part_;
  int64_t sinks_;
  OutputNorms* norms_;
  ContextScores& scores_;
  const KvCache* repeating_ = nullptr;
  std::vector<float> weights_;  // [rows of the block]
};

// The prompt, then the part itself.
std::vector<int32_t> repeated_tokens(std::span<const int32_t> context, Part part, int64_t previous,
                                     const ReconstructionPrompts& prompts) {
  std::vector<int32_t> tokens = part.begin == 0 ? prompts.first : prompts.later;
  const auto add = [&](std::span<const int32_t> more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  if (part.begin > 0) {
    const int64_t first = std::max<int64_t>(0, part.begin - previous);
    add(context.subspan(static_cast<size_t>(first), static_cast<size_t>(part.begin - first)));
  }
  add(prompts.suffix);
  add(context.subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.end - part.begin)));
  return tokens;
}

}  // namespace

std::optional<Reconstruction> reconstruction_of(const KvCache& cache) {
  const Method& method = context_method(cache);
  if (!method.context_scorer() || cache.options().imposed || method.spec.policy.neutral()) return {};
  return method.context_scorer()->reconstruction();
}

void check_prompts(const KvCache& cache, const ReconstructionPrompts* prompts) {
  if (prompts && prompts->problem.empty()) return;
  throw UserError(context_method(cache).spec.display + " repeats the context behind a prompt, and " +
                  (prompts ? "there is none for this model: " + prompts->problem
                           : "this run was given none (CacheOptions::prompts)"));
}

ReconstructedScores reconstruct_scores(const Session& session, std::span<const int32_t> context,
                                       const Reconstruction& how) {
  const KvCache& cache = session.cache();
  const ModelShape& shape = cache.method().shape;
  const ReconstructionPrompts& prompts = *cache.options().prompts;
  const auto tokens = static_cast<int64_t>(context.size());
  KVLAB_CHECK(tokens == session.tokens());
  const int64_t sinks = context_method(cache).spec.policy.sinks;
  ReconstructedScores result;
  result.scores.assign(static_cast<size_t>(shape.layers) * shape.kv_heads,
                       std::vector<float>(context.size(), 0.0f));
  OutputNorms norms(session.model(), shape);
  for (Part part; part.begin < tokens; part.begin = part.end) {
    part.end = std::min(tokens, part.begin + how.chunk);
    const auto watcher =
        std::make_shared<PartWatcher>(cache, part, sinks, how.normalised ? &norms : nullptr, result.scores);
    Session fork = session.fork_dense(watcher);
    watcher->follow(fork.cache());
    fork.extend(repeated_tokens(context, part, how.previous, prompts));
    result.peak_bytes = std::max(result.peak_bytes, fork.cache().peak_bytes());
  }
  return result;
}

}  // namespace kvlab
