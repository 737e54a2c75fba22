#include "results/row_statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace kvlab {

namespace {

using Blocks = std::vector<double> DocumentResult::*;

void add_run(const MethodResult& run, Blocks blocks, double weight, BlockSums& sums) {
  sums.resize(run.documents.size());
  for (size_t d = 0; d < run.documents.size(); ++d) {
    const DocumentResult& document = run.documents[d];
    sums[d].resize((document.*blocks).size());
    for (size_t b = 0; b < sums[d].size(); ++b) {
      sums[d][b].tokens += weight * static_cast<double>(document.block_tokens[b]);
      sums[d][b].sum += weight * (document.*blocks)[b];
    }
  }
}

// The average over the row's runs.
BlockSums sums_of(const MethodResult& row, Blocks blocks) {
  BlockSums sums;
  if (row.seed_results.empty()) {
    add_run(row, blocks, 1, sums);
    return sums;
  }
  const double weight = 1.0 / static_cast<double>(row.seed_results.size());
  for (const MethodResult& run : row.seed_results) {
    KVLAB_CHECK(run.documents.size() == row.seed_results[0].documents.size());
    add_run(run, blocks, weight, sums);
  }
  return sums;
}

}  // namespace

BlockSums delta_sums(const MethodResult& row) {
  return sums_of(row, &DocumentResult::delta_blocks);
}

std::vector<TokenSum> document_sums(const BlockSums& blocks) {
  std::vector<TokenSum> documents;
  for (const std::vector<TokenSum>& list : blocks) {
    if (list.empty()) continue;
    documents.emplace_back();
    for (const TokenSum& block : list) {
      documents.back().tokens += block.tokens;
      documents.back().sum += block.sum;
    }
  }
  return documents;
}

bool enough_blocks(const BlockSums& sums) {
  int64_t blocks = 0;
  for (const auto& list : sums) {
    // Its share of the chance would be missing: a single block has nothing to be exchanged with.
    if (list.size() == 1) return false;
    blocks += static_cast<int64_t>(list.size());
  }
  return blocks >= kLeastBlocks;
}

std::optional<RowIntervals> row_intervals(const MethodResult& row) {
  const BlockSums delta = delta_sums(row);
  const BlockSums kl = sums_of(row, &DocumentResult::kl_blocks);
  const std::vector<TokenSum> documents = document_sums(delta), kl_documents = document_sums(kl);
  const auto count = static_cast<int64_t>(documents.size());
  RowIntervals intervals;
  if (count >= kDocumentsForT) {
    intervals.delta_nll = t_inference(documents);
    if (!kl_documents.empty()) intervals.kl_ci95 = t_inference(kl_documents).ci95;
    intervals.method = "t over " + std::to_string(count) + " documents";
    return intervals;
  }
  if (!enough_blocks(delta)) return std::nullopt;
  intervals.delta_nll = bootstrap_inference(delta);
  if (!kl_documents.empty()) intervals.kl_ci95 = bootstrap_inference(kl).ci95;
  intervals.method = "block bootstrap within these documents";
  return intervals;
}

std::optional<TokenDistribution> token_distribution(const MethodResult& run) {
  std::vector<float> kl;
  double squares = 0;
  for (const DocumentResult& document : run.documents) {
    kl.insert(kl.end(), document.token_kl.begin(), document.token_kl.end());
    squares += document.delta_p_squared_sum;
  }
  if (kl.empty()) return std::nullopt;
  std::sort(kl.begin(), kl.end());
  const std::span<const float> ascending(kl);
  const auto at = [&](double f) { return quantile_of_sorted(ascending, f); };
  return TokenDistribution{at(0.5),
                           at(0.9),
                           at(0.95),
                           at(0.99),
                           at(0.999),
                           at(1),
                           std::sqrt(squares / static_cast<double>(kl.size()))};
}

}  // namespace kvlab
