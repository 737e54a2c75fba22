// Long-range tokens: those that lose much when only the sinks and the newest tokens are kept, so that
// predicting them needs far context. A control run chooses them once per document; every row is then judged
// on them.
//
// The choice speaks against rows that evict as the control does: part of what made a token chosen is chance,
// and theirs is the same chance. It also favours tokens on which the baseline was lucky, so a row that
// differs from the baseline by noise alone has a figure above zero.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "evals/document_run.h"

namespace kvlab {

// Nats more than the baseline's loss.
inline constexpr double kLongRangeLoss = 0.5;

// What the control keeps: streaming_llm(sinks=4,window=128), streaming under every protocol.
const MethodSpec& long_range_control_spec();

// Whether a method evicts by recency alone, as the control does, or would whatever its scores.
bool evicts_like_control(const MethodSpec& spec);

// Which of a document's scored tokens were chosen, from the losses of both runs.
std::vector<uint8_t> choose_long_range(std::span<const float> control_nll,
                                       std::span<const float> baseline_nll);

// A row's losses on a document and the record that gets what they sum to.
struct RowLosses {
  std::span<const float> nll;
  DocumentResult* result;
};

// Adds the sums over the chosen tokens, in blocks where the record has blocks of differences.
void add_long_range(std::span<const uint8_t> chosen, std::span<const float> baseline_nll,
                    const RowLosses& row);

// Runs the control and collects its sums.
class LongRangeChooser {
 public:
  LongRangeChooser(std::shared_ptr<const Model> model, const RunOptions& options);

  // The control's losses on documents run together. The baseline's where it evicts nothing, so that nothing
  // is chosen.
  std::vector<std::vector<float>> control_losses(std::span<const TokenDocument* const> documents,
                                                 std::span<const DocumentRun> baselines);

  // Chooses by the control's losses and adds the sums of all rows, which ran the same document.
  void add(std::span<const float> control_nll, std::span<const float> baseline_nll,
           std::span<const RowLosses> rows);

  const LongRangeControl& result() const { return result_; }

 private:
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Method> method_;
  RunOptions options_;
  LongRangeControl result_;
};

// Marks a row of the control's family, whose figure its own kind of loss has chosen, with a note where it has
// one.
void mark_control_family(const MethodSpec& spec, MethodResult& row);

}  // namespace kvlab
