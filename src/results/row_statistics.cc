#include "results/row_statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace kvlab {

namespace {

using Blocks = std::vector<double> DocumentResult::*;

// A row's documents with what they sum to, whole and in blocks.
struct Sums {
  std::vector<TokenSum> documents;
  std::vector<std::vector<TokenSum>> blocks;
};

void add_run(const MethodResult& run, Blocks blocks, double weight, Sums& sums) {
  sums.documents.resize(run.documents.size());
  sums.blocks.resize(run.documents.size());
  for (size_t d = 0; d < run.documents.size(); ++d) {
    const DocumentResult& document = run.documents[d];
    sums.blocks[d].resize(document.block_tokens.size());
    for (size_t b = 0; b < document.block_tokens.size(); ++b) {
      const TokenSum part{weight * static_cast<double>(document.block_tokens[b]),
                          weight * (document.*blocks)[b]};
      for (TokenSum* sum : {&sums.blocks[d][b], &sums.documents[d]}) {
        sum->tokens += part.tokens;
        sum->sum += part.sum;
      }
    }
  }
}

// The average over the row's runs, without documents that score nothing.
Sums sums_of(const MethodResult& row, Blocks blocks) {
  Sums sums;
  if (row.seed_results.empty()) {
    add_run(row, blocks, 1, sums);
  } else {
    const double weight = 1.0 / static_cast<double>(row.seed_results.size());
    for (const MethodResult& run : row.seed_results) {
      KVLAB_CHECK(run.documents.size() == row.seed_results[0].documents.size());
      add_run(run, blocks, weight, sums);
    }
  }
  std::erase_if(sums.documents, [](const TokenSum& sum) { return sum.tokens == 0; });
  std::erase_if(sums.blocks, [](const std::vector<TokenSum>& list) { return list.empty(); });
  return sums;
}

bool enough_blocks(const Sums& sums) {
  int64_t blocks = 0;
  for (const auto& list : sums.blocks) {
    // Its share of the chance would be missing: a single block has nothing to be exchanged with.
    if (list.size() < 2) return false;
    blocks += static_cast<int64_t>(list.size());
  }
  return blocks >= kLeastBlocks;
}

}  // namespace

std::optional<RowIntervals> row_intervals(const MethodResult& row) {
  const Sums delta = sums_of(row, &DocumentResult::delta_blocks);
  const Sums kl = sums_of(row, &DocumentResult::kl_blocks);
  const auto documents = static_cast<int64_t>(delta.documents.size());
  if (documents >= kDocumentsForT) {
    return RowIntervals{t_inference(delta.documents), t_inference(kl.documents).ci95,
                        "t over " + std::to_string(documents) + " documents"};
  }
  if (!enough_blocks(delta)) return std::nullopt;
  return RowIntervals{bootstrap_inference(delta.blocks), bootstrap_inference(kl.blocks).ci95,
                      "block bootstrap within these documents"};
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
