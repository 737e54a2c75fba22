#include "evals/long_range.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace kvlab {

const MethodSpec& long_range_control_spec() {
  static const MethodSpec spec = resolve_recipe("streaming_llm(sinks=4,window=128)", {});
  return spec;
}

bool evicts_like_control(const MethodSpec& spec) {
  if (spec.dense()) return false;
  // Random scores are below 1, so such a threshold lets all unprotected entries go.
  const bool everything =
      !spec.context && spec.scorer->seeded && spec.policy.threshold() && spec.policy.value >= 1;
  return spec.recency() || everything;
}

std::vector<uint8_t> choose_long_range(std::span<const float> control_nll,
                                       std::span<const float> baseline_nll) {
  KVLAB_CHECK(control_nll.size() == baseline_nll.size());
  std::vector<uint8_t> chosen(control_nll.size());
  for (size_t i = 0; i < chosen.size(); ++i)
    chosen[i] = static_cast<double>(control_nll[i]) - baseline_nll[i] > kLongRangeLoss;
  return chosen;
}

void add_long_range(std::span<const uint8_t> chosen, std::span<const float> baseline_nll,
                    const RowLosses& row) {
  KVLAB_CHECK(chosen.size() == baseline_nll.size() && chosen.size() == row.nll.size());
  DocumentResult& result = *row.result;
  if (std::find(chosen.begin(), chosen.end(), 1) == chosen.end()) return;
  result.long_range_block_tokens.assign(result.delta_blocks.size(), 0);
  result.long_range_delta_blocks.assign(result.delta_blocks.size(), 0);
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i]) continue;
    const double delta = static_cast<double>(row.nll[i]) - baseline_nll[i];
    ++result.tokens_long_range;
    result.delta_nll_long_range_sum += delta;
    if (result.delta_blocks.empty()) continue;  // the baseline, which is paired with nothing
    ++result.long_range_block_tokens[i / kBlockTokens];
    result.long_range_delta_blocks[i / kBlockTokens] += delta;
  }
}

LongRangeChooser::LongRangeChooser(std::shared_ptr<const Model> model, const RunOptions& options)
    : model_(std::move(model)),
      method_(make_method(long_range_control_spec(), shape_of(model_->config()))),
      options_(options) {
  options_.record_lifetimes = false;
  result_.recipe = long_range_control_spec().recipe;
  result_.loss = kLongRangeLoss;
  result_.kept = static_cast<int64_t>(method_->spec.policy.value);
}

std::vector<std::vector<float>> LongRangeChooser::control_losses(
    std::span<const TokenDocument* const> documents, std::span<const DocumentRun> baselines) {
  KVLAB_CHECK(documents.size() == baselines.size());
  std::vector<std::vector<float>> losses;
  std::vector<const TokenDocument*> long_ones;
  std::vector<size_t> numbers;
  for (size_t d = 0; d < documents.size(); ++d) {
    losses.push_back(baselines[d].nll);
    if (static_cast<int64_t>(documents[d]->tokens.size()) <= result_.kept) continue;
    long_ones.push_back(documents[d]);
    numbers.push_back(d);
  }
  if (long_ones.empty()) return losses;
  std::vector<DocumentRun> runs = run_documents(model_, method_, long_ones, options_);
  for (size_t i = 0; i < runs.size(); ++i) losses[numbers[i]] = std::move(runs[i].nll);
  return losses;
}

void LongRangeChooser::add(std::span<const float> control_nll, std::span<const float> baseline_nll,
                           std::span<const RowLosses> rows) {
  const std::vector<uint8_t> chosen = choose_long_range(control_nll, baseline_nll);
  for (size_t i = 0; i < chosen.size(); ++i) {
    const double delta = static_cast<double>(control_nll[i]) - baseline_nll[i];
    ++result_.tokens_scored;
    result_.delta_nll_sum += delta;
    if (!chosen[i]) continue;
    ++result_.tokens_chosen;
    result_.delta_nll_long_range_sum += delta;
  }
  for (const RowLosses& row : rows) {
    result_.longest_document = std::max(result_.longest_document, row.result->tokens);
    add_long_range(chosen, baseline_nll, row);
  }
}

void mark_control_family(const MethodSpec& spec, MethodResult& row) {
  // What was forced to evict everything unprotected kept the sinks and the window, whatever its scores.
  if (!evicts_like_control(spec) && row.status != Status::kFallback) return;
  row.control_family = true;
  if (row.status == Status::kInert) return;
  const bool any = std::any_of(row.documents.begin(), row.documents.end(),
                               [](const DocumentResult& document) { return document.tokens_long_range > 0; });
  if (any) {
    row.notes.push_back(
        "long-range ΔNLL*: the tokens were chosen by what a method of this kind loses, so the figure speaks "
        "against it by construction");
  }
}

}  // namespace kvlab
