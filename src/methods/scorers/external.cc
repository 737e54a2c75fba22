// External scores.
// Idea: scores that somebody else computed, read from a safetensors file: a new idea is tried from a
// few lines of any language that writes such files. Higher is kept longer.
// Paper: yours; docs/bring_your_own.md has a worked example.
// Symbols: scores is the tensor `scores` [layers, kv_heads, tokens] ([layers, tokens]: for all heads,
// [tokens]: for all layers and heads) of a single document, or `scores.<document>` of one of several,
// counted from 0 in the data (in `kvlab ppl`: of a window).
// Differs: the scores may have been computed in any way, so they may know the future: nothing here can
// tell.
// Bytes per token: one score per layer and KV head; the file's scores of all documents are in memory,
// shared by all sessions.
// In kvpress: a press of one's own, in Python.
// Examples: external(scores="scores.safetensors",keep=0.5) external(scores="s.safetensors",size=256)
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cache/scorer.h"
#include "format/entry_table.h"

namespace kvlab {

namespace {

EntryTable read_scores(const ScorerContext& context) {
  if (!context.values.given("scores")) {
    throw UserError(
        "external needs a file: external(scores=F.safetensors) with scores, or "
        "external(evict_at=F.safetensors) "
        "with exact evictions");
  }
  return {context.values.text("scores"), "scores", context.shape.layers, context.shape.kv_heads};
}

class External : public FixedScorer {
 public:
  explicit External(const ScorerContext& context)
      : kv_heads_(context.shape.kv_heads), scores_(read_scores(context)) {
    scores_.check_all([](float score, int64_t) {
      return std::string(std::isnan(score) ? "is NaN (expected a number)" : "");
    });
  }

  void score(const NewEntries& entries, float* out) const override {
    for (int head = 0; head < kv_heads_; ++head) {
      const auto row =
          scores_.row(entries.document, entries.layer, head, entries.first_position + entries.rows);
      out = std::copy_n(row.data() + entries.first_position, entries.rows, out);
    }
  }

 private:
  int kv_heads_;
  EntryTable scores_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "external";
  info.title = "External";
  info.paper = "yours: docs/bring_your_own.md";
  info.summary = "evicts by scores from a file; or, given evict_at=F, exactly what a file says";
  info.formula = "score_j = scores[layer][head][j] of the file";
  info.fields = {
      path_field("scores", "safetensors file: scores [layers, kv_heads, tokens], or scores.<document>")};
  info.by_document = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<External>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_external;
const ScorerInfo kScorerInfo_external = describe();

}  // namespace kvlab
