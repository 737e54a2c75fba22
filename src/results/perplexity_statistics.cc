#include "results/perplexity_statistics.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "results/row_statistics.h"

namespace kvlab {

namespace {

// The blocks of all windows of one document, one after the other. `windows` says which window is whose.
BlockSums by_document(const BlockSums& blocks, const std::vector<DocumentResult>& windows) {
  BlockSums documents;
  std::map<std::string, size_t> place;
  for (size_t w = 0; w < blocks.size(); ++w) {
    const auto [found, is_new] = place.emplace(windows[w].id, documents.size());
    if (is_new) documents.emplace_back();
    std::vector<TokenSum>& document = documents[found->second];
    document.insert(document.end(), blocks[w].begin(), blocks[w].end());
  }
  return documents;
}

std::string plural(size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

bool enough_for_t(const std::vector<TokenSum>& clusters) {
  return static_cast<int64_t>(clusters.size()) >= kDocumentsForT;
}

std::optional<WindowIntervals> infer(const BlockSums& windows, const std::vector<DocumentResult>& places) {
  const BlockSums blocks = by_document(windows, places);
  const std::vector<TokenSum> documents = document_sums(blocks), pieces = document_sums(windows);
  if (enough_for_t(documents))
    return WindowIntervals{t_inference(documents), "t over " + plural(documents.size(), "document")};
  if (enough_for_t(pieces)) {
    return WindowIntervals{t_inference(pieces), "t over " + plural(pieces.size(), "window") + " of " +
                                                    plural(documents.size(), "document")};
  }
  if (!enough_blocks(blocks)) return std::nullopt;
  return WindowIntervals{bootstrap_inference(blocks), "block bootstrap within these documents"};
}

bool has_delta(const PerplexityRow& row) {
  return has_run(row) && row.result.status != Status::kInert;
}

RatioStep step_between(const PerplexityRow& from, const PerplexityRow& to) {
  const BlockSums before = delta_sums(from.result);
  BlockSums gain = delta_sums(to.result);
  KVLAB_CHECK(gain.size() == before.size());
  TokenSum total;
  for (size_t w = 0; w < gain.size(); ++w) {
    KVLAB_CHECK(gain[w].size() == before[w].size());
    for (size_t b = 0; b < gain[w].size(); ++b) {
      gain[w][b].sum -= before[w][b].sum;
      total.tokens += gain[w][b].tokens;
      total.sum += gain[w][b].sum;
    }
  }
  RatioStep step{to.method, to.result.name, *from.ratio, *to.ratio, 0, std::nullopt};
  if (total.tokens > 0) step.delta_nll = total.sum / total.tokens;
  step.interval = infer(gain, runs_of(to)[0].documents);
  return step;
}

void add_steps(std::vector<const PerplexityRow*> rows, std::vector<RatioStep>& steps) {
  std::stable_sort(rows.begin(), rows.end(), [](auto* a, auto* b) { return *a->ratio < *b->ratio; });
  const auto at = [&](double ratio) {
    return std::find_if(rows.begin(), rows.end(), [&](auto* row) { return *row->ratio == ratio; });
  };
  for (size_t i = 1; i < rows.size(); ++i) steps.push_back(step_between(*rows[i - 1], *rows[i]));
  const auto half = at(0.5), most = at(0.9);
  if (half != rows.end() && most != rows.end() && most - half > 1)
    steps.push_back(step_between(**half, **most));
}

}  // namespace

std::optional<WindowIntervals> window_intervals(const PerplexityRow& row) {
  if (row.result.reference || !has_delta(row)) return std::nullopt;
  return infer(delta_sums(row.result), runs_of(row)[0].documents);
}

std::vector<RatioStep> ratio_steps(const PerplexityResult& result) {
  std::vector<std::string> methods;
  std::map<std::string, std::vector<const PerplexityRow*>> rows;
  for (const PerplexityRow& row : result.rows) {
    if (row.result.reference || !row.ratio || !has_delta(row)) continue;
    if (rows[row.method].empty()) methods.push_back(row.method);
    rows[row.method].push_back(&row);
  }
  std::vector<RatioStep> steps;
  for (const std::string& method : methods) add_steps(rows[method], steps);
  return steps;
}

std::optional<Interval> runtime_interval(const PerplexityRow& row) {
  constexpr size_t kFewest = 3;
  const auto runs = runs_of(row);
  std::vector<TokenSum> windows(runs[0].documents.size());
  double tokens = 0;
  for (const MethodResult& run : runs) {
    for (size_t w = 0; w < windows.size(); ++w) {
      windows[w].tokens = static_cast<double>(run.documents[w].tokens);
      windows[w].sum += run.documents[w].seconds / static_cast<double>(runs.size());
    }
  }
  for (const TokenSum& window : windows) tokens += window.tokens;
  if (windows.size() < kFewest || tokens == 0) return std::nullopt;
  const Interval per_token = t_inference(windows).ci95;
  return Interval{per_token.low * tokens, per_token.high * tokens};
}

}  // namespace kvlab
