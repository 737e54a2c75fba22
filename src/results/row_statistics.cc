#include "results/row_statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace kvlab {

namespace {

using Counts = std::vector<int64_t> DocumentResult::*;
using Blocks = std::vector<double> DocumentResult::*;

void add_run(const MethodResult& run, Counts counts, Blocks blocks, double weight, BlockSums& sums) {
  sums.resize(run.documents.size());
  for (size_t d = 0; d < run.documents.size(); ++d) {
    const DocumentResult& document = run.documents[d];
    const std::vector<double>& values = document.*blocks;
    KVLAB_CHECK(values.empty() || values.size() == (document.*counts).size());
    sums[d].resize(values.size());
    for (size_t b = 0; b < values.size(); ++b) {
      sums[d][b].tokens += weight * static_cast<double>((document.*counts)[b]);
      sums[d][b].sum += weight * values[b];
    }
  }
}

// The average over the row's runs.
BlockSums sums_of(const MethodResult& row, Counts counts, Blocks blocks) {
  BlockSums sums;
  if (row.seed_results.empty()) {
    add_run(row, counts, blocks, 1, sums);
    return sums;
  }
  const double weight = 1.0 / static_cast<double>(row.seed_results.size());
  for (const MethodResult& run : row.seed_results) {
    KVLAB_CHECK(run.documents.size() == row.seed_results[0].documents.size());
    add_run(run, counts, blocks, weight, sums);
  }
  return sums;
}

TokenSum total(const std::vector<TokenSum>& blocks) {
  TokenSum sum;
  for (const TokenSum& block : blocks) {
    sum.tokens += block.tokens;
    sum.sum += block.sum;
  }
  return sum;
}

bool enough_blocks(const BlockSums& documents) {
  int64_t with_tokens = 0;
  for (const auto& blocks : documents) {
    // Its share of the chance would be missing: a single block has nothing to be exchanged with.
    if (blocks.size() < 2) return false;
    with_tokens +=
        std::count_if(blocks.begin(), blocks.end(), [](const TokenSum& block) { return block.tokens > 0; });
  }
  return with_tokens >= kLeastBlocks;
}

}  // namespace

std::optional<PairedInference> paired_inference(BlockSums documents) {
  std::erase_if(documents, [](const std::vector<TokenSum>& blocks) { return total(blocks).tokens == 0; });
  const auto count = static_cast<int64_t>(documents.size());
  if (count >= kDocumentsForT) {
    std::vector<TokenSum> whole;
    for (const auto& blocks : documents) whole.push_back(total(blocks));
    return PairedInference{t_inference(whole), "t over " + std::to_string(count) + " documents"};
  }
  if (!enough_blocks(documents)) return std::nullopt;
  return PairedInference{bootstrap_inference(documents), "block bootstrap within these documents"};
}

std::optional<RowIntervals> row_intervals(const MethodResult& row) {
  using D = DocumentResult;
  const auto delta = paired_inference(sums_of(row, &D::block_tokens, &D::delta_blocks));
  if (!delta) return std::nullopt;
  const auto kl = paired_inference(sums_of(row, &D::block_tokens, &D::kl_blocks));
  return RowIntervals{delta->inference, kl->inference.ci95, delta->method};
}

std::optional<PairedInference> long_range_inference(const MethodResult& row) {
  using D = DocumentResult;
  return paired_inference(sums_of(row, &D::long_range_block_tokens, &D::long_range_delta_blocks));
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
