// External evictions.
// Idea: exact evictions from a safetensors file, as `kvlab dump` writes them; written
// external(evict_at=F). There is no budget: whoever wrote the file decided everything, and may have
// known the future.
// Paper: yours; docs/bring_your_own.md has a worked example.
// Symbols: evict_at is the tensor `evict_at` [layers, kv_heads, tokens] ([layers, tokens]: for all
// heads, [tokens]: for all layers and heads), or `evict_at.<document>` for data of several documents.
// It holds for each token t the first query that does not see its entry; -1, and what lies behind the
// document's end, mean never.
// Differs: nothing is decided here.
// Bytes per token: keys and values only.
// In kvpress: nothing alike.
// Examples: external(evict_at="dump.safetensors")
#include <cmath>

#include "base/error.h"
#include "cache/planned.h"
#include "format/entry_table.h"
#include "kernels/attention.h"

namespace kvlab {

namespace {

EntryTable read_evictions(const ScorerContext& context) {
  if (!context.values.given("evict_at"))
    throw UserError("external_evictions needs a file: external(evict_at=F.safetensors)");
  return {context.values.text("evict_at"), "evict_at", context.shape.layers, context.shape.kv_heads};
}

std::string what_is_wrong(float value, int64_t token) {
  if (value == -1) return "";
  if (!std::isfinite(value) || value != std::floor(value)) {
    return "is " + std::to_string(value) +
           " (expected an integer: the first query that does not see the entry, or -1 for never)";
  }
  if (value > static_cast<float>(token)) return "";
  return "is " + std::to_string(static_cast<int64_t>(value)) +
         " (expected more than the token's place: an entry is seen at least by its own query; -1 means "
         "never)";
}

class ExternalEvictions : public PlannedScorer {
 public:
  explicit ExternalEvictions(const ScorerContext& context) : evictions_(read_evictions(context)) {
    evictions_.check_all(what_is_wrong);
  }

  void plan(const PlanView& view, const Policy&, std::span<int32_t> evict_at) const override {
    const auto row = evictions_.row(view.document, view.layer, view.head, view.n);
    for (int64_t t = 0; t < view.n; ++t) {
      // An entry that goes at n itself was seen by all queries, and is gone at the end.
      const bool goes = row[t] >= 0 && row[t] <= static_cast<float>(view.n);
      evict_at[t] = goes ? static_cast<int32_t>(row[t]) : kNever;
    }
  }

 private:
  EntryTable evictions_;
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "external_evictions";
  info.title = "External";
  info.paper = "yours: docs/bring_your_own.md";
  info.summary = "evicts exactly what a file says, when it says so; written external(evict_at=F)";
  info.formula = "score_j = none; entry j is seen by queries j to evict_at[layer][head][j] - 1";
  info.kind = ScorerKind::kPlanned;
  info.fields = {path_field("evict_at",
                            "safetensors file: evict_at [layers, kv_heads, tokens], or evict_at.<document>")};
  info.window = WindowRule::kNone;
  info.no_threshold = "the file says when each entry goes";
  info.no_budget = "the file says when each entry goes";
  info.form_of = "external";
  info.form_parameter = "evict_at";
  info.by_document = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<ExternalEvictions>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_external_evictions;
const ScorerInfo kScorerInfo_external_evictions = describe();

}  // namespace kvlab
