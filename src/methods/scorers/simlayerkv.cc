// SimLayerKV.
// Idea: Some layers are lazy: at the end of a text they look at its first and its latest tokens only. They
// need no others; all other layers keep everything.
// Paper: Zhang et al.: SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction,
// arXiv:2410.13846.
// Symbols: share is the attention of the last `last` queries that goes to the first `sinks` entries and to
// the `recent` entries before those queries, mean over the queries and all query heads of the layer; T is
// the number of tokens. An entry scores -1 when it goes, else 1.
// Differs: kvpress's threshold is 1 by default, which no share exceeds, so nothing happens; here it is
// 0.9, kvpress's advice for Llama 3 (it names 0.65 for Llama 2, 0.8 for Mistral, 0.85 for Qwen). As in
// kvpress, a lazy layer keeps recent - last of the latest entries, fewer than it was tested with, and
// contexts of no more than sinks + recent + last tokens are left as they are. The paper decides for each
// request after the prompt and lets lazy layers slide on while it is answered; here, as in kvpress,
// nothing goes after the context's end (two_phase with streaming_llm does that).
// Bytes per token: none; `last` queries per layer and query head are carried until the context's end.
// In kvpress: SimLayerKVPress (lazy_threshold=1.0, n_last=1, n_recent=1024, n_initial=4).
// Examples: simlayerkv() simlayerkv(lazy=0.65) simlayerkv(lazy=0.8,recent=256,sinks=4)
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "cache/query_memory.h"
#include "cache/scorer.h"
#include "kernels/attention.h"
#include "kernels/query_votes.h"

namespace kvlab {

namespace {

class SimLayerKv : public ContextScorer {
 public:
  explicit SimLayerKv(const ScorerContext& context)
      : shape_(context.shape),
        lazy_(context.values.real("lazy")),
        recent_(context.values.integer("recent")),
        last_(static_cast<int>(context.values.integer("last"))) {
    if (last_ < recent_) return;
    throw UserError("simlayerkv: recent=" + std::to_string(recent_) + " is not above last=" +
                    std::to_string(last_) + "; a lazy layer keeps recent - last of the latest entries");
  }

  int recent_queries() const override { return last_; }

  void score(std::span<const PeriodicView> heads, std::span<float* const> out) const override {
    bool lazy = true;
    double share = 0;
    for (const PeriodicView& view : heads) {
      lazy = lazy && static_cast<int64_t>(view.positions.size()) > view.sinks + recent_ + last_;
      if (lazy) share += attention_share(view) / static_cast<double>(heads.size());
    }
    lazy = lazy && share > lazy_;
    for (size_t h = 0; h < heads.size(); ++h) {
      const int64_t latest = heads[h].n - recent_ + last_;
      for (size_t i = 0; i < heads[h].positions.size(); ++i) {
        const int32_t position = heads[h].positions[i];
        out[h][i] = lazy && position >= heads[h].sinks && position < latest ? -1.0f : 1.0f;
      }
    }
  }

 private:
  // Of the last queries' attention, what goes to the sinks and the entries just before these queries.
  double attention_share(const PeriodicView& view) const {
    const int d = shape_.head_dim, group = shape_.group();
    const auto live = static_cast<int64_t>(view.positions.size());
    std::vector<float> queries(static_cast<size_t>(last_) * group * d);
    view.queries->copy_recent(queries.data());
    std::vector<int32_t> visible;
    for (int r = 0; r < last_; ++r)
      visible.insert(visible.end(), group, static_cast<int32_t>(live - last_ + r + 1));
    const int64_t before = live - last_;  // entries before the last queries
    std::vector<double> votes(before);
    Buffer<float> scratch;
    query_votes({queries.data(), visible.data(), last_ * group}, view.k, live, d, attention_scale(d), before,
                scratch, votes.data());
    double sum = 0;
    for (int64_t i = 0; i < before; ++i) {
      if (view.positions[i] < view.sinks || i >= before - recent_) sum += votes[i];
    }
    return sum / (static_cast<double>(last_) * group);
  }

  ModelShape shape_;
  double lazy_;
  int64_t recent_;
  int last_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "simlayerkv";
  info.title = "SimLayerKV";
  info.paper =
      "Zhang et al.: SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction, arXiv:2410.13846";
  info.summary = "layers that look at first and latest tokens only keep these; all others keep everything";
  info.formula = "score_j = share > lazy and sinks <= j < T - recent + last ? -1 : 1; what is below 0 goes";
  info.kind = ScorerKind::kContext;
  info.no_budget = "it decides for each layer whether it keeps everything or sinks and recent tokens";
  info.no_threshold = "lazy= is its threshold";
  info.sinks = info.context_sinks = 4;
  info.fields = {real_field("lazy", 0.9, 0, 1, "a layer whose share is above it is lazy; 1: none is"),
                 int_field("recent", int64_t{1024}, 1, 1 << 30, "latest tokens that a lazy layer looks at"),
                 int_field("sinks", int64_t{4}, 0, 1 << 20, "first tokens that a lazy layer keeps"),
                 int_field("last", int64_t{1}, 1, 4096, "last queries whose attention decides")};
  info.create = [](const ScorerContext& context) { return std::make_unique<SimLayerKv>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_simlayerkv;
const ScorerInfo kScorerInfo_simlayerkv = describe();

}  // namespace kvlab
